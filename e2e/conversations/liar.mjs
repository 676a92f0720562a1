// The reference application on a Socket.IO that is wrong in one place, which the variable LIE names. The self-test must
// find out.

import { Socket as Session } from "engine.io";
import { Socket } from "socket.io";

const lies = {
  rooms() {
    Socket.prototype.leave = () => {};
  },
  acks() {
    const { ack } = Socket.prototype;
    Socket.prototype.ack = function (id) {
      const answer = ack.call(this, id);
      return (...args) => answer(...args.slice(0, 1));
    };
  },
  upgrades() {
    const { setTransport } = Session.prototype;
    Session.prototype.setTransport = function (transport) {
      this.writeBuffer.shift();
      setTransport.call(this, transport);
    };
  },
  attachments() {
    const { packet } = Socket.prototype;
    Socket.prototype.packet = function (one, options) {
      const last = Array.isArray(one.data) ? one.data.at(-1) : undefined;
      if (Buffer.isBuffer(last)) one.data[one.data.length - 1] = last.subarray(1);
      packet.call(this, one, options);
    };
  },
};

lies[process.env.LIE]();
await import("../reference.mjs");
