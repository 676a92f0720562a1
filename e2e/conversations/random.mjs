// Random numbers that a seed determines: the same seed makes the same conversation on every machine.

/** Splitmix64, cut to 32 bits. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = BigInt.asUintN(64, BigInt(seed));
  }

  #next() {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e3779b97f4a7c15n);
    let z = this.#state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) >> 32n);
  }

  /** An integer from 0 to `n` - 1. */
  below(n) {
    return Math.floor((this.#next() / 2 ** 32) * n);
  }

  chance(probability) {
    return this.#next() / 2 ** 32 < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** One of [[weight, value], …]. */
  weighted(rows) {
    let at = this.below(rows.reduce((sum, [weight]) => sum + weight, 0));
    return rows.find(([weight]) => (at -= weight) < 0)[1];
  }
}
