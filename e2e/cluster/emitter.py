# -*- coding: utf-8 -*-
"""Python's emitter, socket.io-emitter of PyPI, which runs on Python 2.7 only, moved by the same words as the servers of a
cluster: emitter.py HOST PORT KEY. It knows nothing but to emit."""

import json
import sys

from socket_io_emitter import Emitter


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def emit(emitter, how):
    if how["nsp"] != "/":
        emitter.Of(how["nsp"])
    for room in how.get("to", []):
        emitter.To(room)
    emitter.Emit(how["event"], *how["args"])


def main():
    host, port, key = sys.argv[1:]
    emitter = Emitter({"host": host, "port": int(port), "key": key})
    # Who waits for it waits for a port.
    say({"listening": 1})
    while True:
        # Not by iterating, which reads ahead.
        line = sys.stdin.readline()
        if not line:
            return
        command = json.loads(line)
        try:
            emit(emitter, command)
            say({"id": command["id"]})
        except Exception as error:
            say({"id": command["id"], "error": str(error)})


main()
