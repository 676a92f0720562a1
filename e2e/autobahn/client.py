# Autobahn's fuzzing client, for Python 2.7: `python2.7 client.py SPEC MESSAGES`.
#
# SPEC is the file that `wstest` takes. Each case of compression (sections 12 and 13) sends MESSAGES messages, where
# `wstest` sends 1,000: with these the client alone computes for ten minutes.

import sys

# Comes first: it chooses the reactor.
from autobahntestsuite import wstest
from autobahntestsuite.case import Case12_X_X, Case13_X_X

spec, messages = sys.argv[1:]
for case in Case12_X_X + Case13_X_X:
    case.COUNT = int(messages)

sys.argv[1:] = ["--mode", "fuzzingclient", "--spec", spec]
wstest.run()
