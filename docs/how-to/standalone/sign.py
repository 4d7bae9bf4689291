"""Sign a token: ``python sign.py KEY SUBJECT ['{"more": "claims"}']``. It ends after a week."""

import json
import sys
import time

import jwt

key, subject, *more = sys.argv[1:]
claims = {"sub": subject, "exp": int(time.time()) + 7 * 24 * 3600}
for text in more:
    claims |= json.loads(text)
print(jwt.encode(claims, key, algorithm="HS256"))
