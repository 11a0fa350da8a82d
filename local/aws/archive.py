"""What moto keeps only in memory, kept on disk: KMS keys, secrets, and S3 buckets with every version of every object.

A mutating call is answered only after its effect is committed here, so nothing a client was told is lost by a kill.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from moto.kms.models import kms_backends
from moto.s3.models import FakeDeleteMarker, FakeKey, get_canned_acl, s3_backends
from moto.secretsmanager.models import ReplicaSecret, secretsmanager_backends
from moto.utilities.utils import LowercaseDict

from local.aws.asgi import HttpRequest
from local.aws.packing import pack, revive, unpack

ACCOUNT: Final = "123456789012"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS things (
    service TEXT NOT NULL, region TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (service, region, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_settings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, setting TEXT NOT NULL, region TEXT NOT NULL,
    query TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL, created TEXT, UNIQUE (bucket, setting)
);
CREATE TABLE IF NOT EXISTS versions (
    bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL,
    body BLOB, PRIMARY KEY (bucket, key, version)
);
"""
# Not plain state: the body has a column of its own, the rest is remade when the version is restored.
_REMADE: Final = ("value", "acl", "multipart", "_metadata")


class Archive:
    """The emulator's memory on disk. Callers hold one lock around a mutating call and its save."""

    def __init__(self, path: Path) -> None:
        """Open or create the archive; it holds key material, so only its owner may read it."""
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._saved: dict[tuple[str, str, str], str] = {}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # KMS and Secrets Manager: few and small, so each is compared with what was saved last.

    def save_keys(self, region: str) -> None:
        """Keep every KMS key of a region: material, private keys, aliases, grants, state and tags."""
        backend = kms_backends[ACCOUNT][region]
        self._save_things(
            "kms",
            region,
            {key.id: [key, backend.tagger.get_tag_dict_for_resource(key.id)] for key in backend.keys.values()},
        )

    def key_count(self, region: str) -> int:
        """How many KMS keys are kept for a region; reading an AWS-managed alias may have made one more."""
        return sum(1 for service, kept_region, _ in self._saved if (service, kept_region) == ("kms", region))

    def save_secrets(self, region: str) -> None:
        """Keep every secret of a region with its versions; replicas in other regions are not kept."""
        backend = secretsmanager_backends[ACCOUNT][region]
        found = [secret for secret in dict.values(backend.secrets) if not isinstance(secret, ReplicaSecret)]
        self._save_things("secrets", region, {secret.name: secret for secret in found})

    def _save_things(self, service: str, region: str, things: dict[str, Any]) -> None:
        packed = {(service, region, name): pack(thing) for name, thing in things.items()}
        gone = [key for key in self._saved if key[:2] == (service, region) and key not in packed]
        changed = [(*key, state) for key, state in packed.items() if self._saved.get(key) != state]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM things WHERE service = ? AND region = ? AND id = ?", gone)
            self._db.executemany("INSERT OR REPLACE INTO things VALUES (?, ?, ?, ?)", changed)
        for key in gone:
            del self._saved[key]
        self._saved |= packed

    # S3: settings of a bucket are kept as the requests that made them, objects as their versions.

    def save_setting(self, bucket: str, request: HttpRequest, region: str) -> None:
        """Keep a request that created or set up a bucket, or drop what a DELETE undid."""
        setting = request.query
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if request.method == "DELETE":
                if setting:
                    self._db.execute("DELETE FROM bucket_settings WHERE bucket = ? AND setting = ?", (bucket, setting))
                else:
                    self._db.execute("DELETE FROM bucket_settings WHERE bucket = ?", (bucket,))
                    self._db.execute("DELETE FROM versions WHERE bucket = ?", (bucket,))
                return
            headers = [pair for pair in request.headers if pair[0].lower().startswith(("x-amz-", "content-"))]
            created = None if setting else s3_backends[ACCOUNT]["aws"].buckets[bucket].creation_date.isoformat()
            # The first creation counts: repeating it succeeds in us-east-1 but changes nothing.
            verb = "INSERT OR REPLACE" if setting else "INSERT OR IGNORE"
            self._db.execute(
                f"{verb} INTO bucket_settings (bucket, setting, region, query, headers, body, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (bucket, setting, region, request.query, pack([list(pair) for pair in headers]), request.body, created),
            )

    def save_objects(self, bucket: str, keys: Iterable[str]) -> None:
        """Keep all versions of these objects as they are now, delete markers included."""
        found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for key in keys:
                versions = (found.keys.getlist(key, []) or []) if found is not None else []
                self._save_versions(bucket, key, versions)

    def _save_versions(self, bucket: str, key: str, versions: list[FakeKey | FakeDeleteMarker]) -> None:
        kept = dict(
            self._db.execute("SELECT version, state FROM versions WHERE bucket = ? AND key = ?", (bucket, key)).fetchall()
        )
        for position, version in enumerate(versions):
            state = _version_state(version)
            before = kept.pop(version.version_id, None)
            if before == state:
                continue
            if before is not None and version.version_id != "null":
                self._db.execute(
                    "UPDATE versions SET state = ? WHERE bucket = ? AND key = ? AND version = ?",
                    (state, bucket, key, version.version_id),
                )
                continue
            body = version.value if isinstance(version, FakeKey) else None
            self._db.execute(
                "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?)",
                (bucket, key, version.version_id, position, state, body),
            )
        self._db.executemany(
            "DELETE FROM versions WHERE bucket = ? AND key = ? AND version = ?", [(bucket, key, gone) for gone in kept]
        )

    # Restoring

    def restore_keys_and_secrets(self) -> None:
        """Put keys and secrets back into moto."""
        for service, region, name, state in self._db.execute("SELECT * FROM things ORDER BY id").fetchall():
            thing = unpack(state)
            if service == "kms":
                key, tags = thing
                backend = kms_backends[ACCOUNT][region]
                backend.keys[key.id] = key
                if tags:
                    backend.tagger.tag_resource(key.id, [{"TagKey": tag, "TagValue": text} for tag, text in tags.items()])
            else:
                secretsmanager_backends[ACCOUNT][region].secrets[name] = thing
            self._saved[service, region, name] = state

    def settings(self) -> list[tuple[str, str, HttpRequest]]:
        """The requests that set the buckets up, in order, each with its region and creation time if it created one."""
        rows = self._db.execute(
            "SELECT bucket, region, query, headers, body, created FROM bucket_settings ORDER BY seq"
        ).fetchall()
        return [
            (region, created or "", HttpRequest("PUT", f"/{bucket}", f"/{bucket}", query, unpack(headers), body))
            for bucket, region, query, headers, body, created in rows
        ]

    def restore_objects(self) -> None:
        """Put all object versions back into the buckets, which must be there already."""
        backend = s3_backends[ACCOUNT]["aws"]
        rows = self._db.execute("SELECT bucket, key, state, body FROM versions ORDER BY bucket, key, position").fetchall()
        for bucket, key, state, body in rows:
            keys = backend.buckets[bucket].keys
            fields = unpack(state)
            if body is None:
                earlier = keys.getlist(key, [None])[-1]
                version = revive(FakeDeleteMarker, {**fields["marker"], "key": earlier})
            else:
                version = _revive_object(fields, body)
            keys[key] = version
            if fields.get("tags"):
                backend.tagger.tag_resource(version.arn, [{"Key": tag, "Value": text} for tag, text in fields["tags"].items()])


def _version_state(version: FakeKey | FakeDeleteMarker) -> str:
    if isinstance(version, FakeDeleteMarker):
        return pack({"marker": {name: value for name, value in vars(version).items() if name != "key"}})
    version.etag  # noqa: B018 - moto computes it when first asked; ask now so that the state does not change later
    tags = s3_backends[ACCOUNT]["aws"].tagger.get_tag_dict_for_resource(version.arn)
    # Not moto's __getstate__: it would read the whole body each time.
    state = {name: value for name, value in vars(version).items() if name not in {*_REMADE, "_value_buffer", "lock"}}
    return pack({"object": state, "metadata": [list(pair) for pair in version.metadata.items()], "tags": tags})


def _revive_object(fields: dict[str, Any], body: bytes) -> FakeKey:
    metadata = LowercaseDict()
    metadata.update(dict(fields["metadata"]))
    version: FakeKey = revive(FakeKey, {})
    version.__setstate__(
        {**fields["object"], "value": body, "acl": get_canned_acl("private"), "multipart": None, "_metadata": metadata}
    )
    return version
