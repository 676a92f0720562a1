// The versions and modes of Node's adapters: each is a cluster of its own.

/** `PUBLISH` and `SUBSCRIBE`. */
export const CLASSIC = ["8", "8 exact", "8 specific", "7", "6", "5"];
const SHARDED = ["sharded static", "sharded dynamic", "sharded dynamic-private"];
const STREAMS = ["streams 0.3", "streams 0.2"];
/** Streams, with connection state recovery on all servers. */
export const RECOVERING = STREAMS.map((version) => `${version} recovering`);
export const VERSIONS = [...CLASSIC, ...SHARDED, ...STREAMS, ...RECOVERING];

/** The second namespace: Socket.IO 2 reads a name as a path, without what follows a `#`. */
export const otherNamespace = (version) => (version === "5" ? "/chat" : "/chat#é");
