"""Which adapters of vendors are proven: a contract test against the vendor's own description of its interface passes.

tests/contract holds these tests; tests/house/test_providers.py holds this list and the README to them.
"""

PROCESSORS = frozenset({"lithic"})
CHANNELS = frozenset({"twilio"})
