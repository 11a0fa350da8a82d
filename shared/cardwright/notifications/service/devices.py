"""Devices of people: push tokens, and numbers that are theirs because they read a code there."""

import hmac
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cardwright.audit import service as audit
from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import (
    ConflictError,
    NotFoundError,
    ProviderRefusedError,
    RateLimitedError,
    UnprocessableError,
)
from cardwright.kernel.secret import Secret
from cardwright.notifications import rules
from cardwright.notifications.ports import DerivedKeys, Rendered, Seals
from cardwright.notifications.rules import Channel, Device, DeviceStatus, NewDevice
from cardwright.notifications.service.addresses import Digests
from cardwright.notifications.service.carriers import Carriers
from cardwright.notifications.store import devices as store
from cardwright.notifications.store import preferences
from cardwright.platform.ids import IdSource, random_digits
from cardwright.platform.postgres import Actor, Database, Transaction, UniqueViolation


class NotificationDevices:
    """The caller's devices; under role app."""

    def __init__(
        self, database: Database, clock: Clock, ids: IdSource, seals: Seals, keys: DerivedKeys, carriers: Carriers
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._seals = seals
        self._digests = Digests(keys)
        self._carriers = carriers

    def register_device(self, actor: Actor, wanted: NewDevice, operation_id: UUID) -> Device:
        """Add a device; the same operation again, or the same address, returns the same device.

        A push token takes messages at once, and nobody else's any more: who has the app's token has the device. A number is
        texted a code and takes messages when it is confirmed; registered again before that, it gets another one.
        Raises InvalidFieldsError, ConflictError too_many_devices, RateLimitedError, UnavailableError; UnprocessableError
        phone_number_refused when no provider texts that number.
        """
        address = rules.check_device(wanted)
        user_id = _user(actor)
        digests = self._digests.of("push" if wanted.channel is Channel.PUSH else "sms", address)
        sealed = self._seals.seal(actor, user_id, address_field(digests[0]), address)
        code = None if wanted.channel is Channel.PUSH else Secret(random_digits(rules.CODE_DIGITS))
        for last in (False, True):
            try:
                device, owed = self._write(actor, user_id, wanted, operation_id, digests, sealed, code)
                break
            except UniqueViolation as error:
                # Somebody else has registered the token just now: it is theirs no more, once more.
                if last:
                    raise _busy() from error
        if code is not None and owed:
            self._text(actor, user_id, device, address, code)
        return device

    def _write(
        self,
        actor: Actor,
        user_id: UUID,
        wanted: NewDevice,
        operation_id: UUID,
        digests: list[bytes],
        sealed: bytes,
        code: Secret[str] | None,
    ) -> tuple[Device, bool]:
        """Add or renew the device; tell whether it is owed the code."""
        now = self._clock.now()
        with self._database.transaction(actor) as tx:
            preferences.touch(tx, user_id, now)
            held = store.find(tx, user_id, wanted.channel, digests)
            if held is None:
                if store.load(tx, user_id, operation_id) is not None:
                    raise ConflictError("This operation has registered another device.", code="device_differs")
                if store.count(tx, user_id) >= rules.DEVICES_MAX:
                    raise ConflictError(f"There are {rules.DEVICES_MAX} devices already.", code="too_many_devices")
            elif self._is_done(tx, user_id, held, wanted, operation_id):
                return held, False
            device_id = operation_id if held is None else held.device_id
            if code is None:
                store.take_address(tx, wanted.channel, digests)
            if held is None:
                store.insert(tx, _row(user_id, device_id, wanted, digests[0], sealed, now))
                self._note(tx, user_id, "notification_device.added", device_id, wanted.channel)
            elif code is None:
                store.activate(tx, user_id, device_id, wanted.platform, now)
            if code is not None:
                self._put_code(tx, user_id, device_id, code, now)
            return _found(store.load(tx, user_id, device_id)), True

    @staticmethod
    def _is_done(tx: Transaction, user_id: UUID, held: Device, wanted: NewDevice, operation_id: UUID) -> bool:
        """True when the device is as it is wanted, or when this very operation has had its code sent."""
        if held.status is DeviceStatus.ACTIVE:
            return wanted.channel is Channel.SMS or held.platform is wanted.platform
        return wanted.channel is Channel.SMS and held.device_id == operation_id and store.code_sent(tx, user_id, operation_id)

    def confirm_device(self, actor: Actor, device_id: UUID, code: Secret[str]) -> Device:
        """Confirm a number by the code that was texted to it; it then is nobody else's. A confirmed one stays as it is.

        Raises NotFoundError device_not_found, UnprocessableError device_code_invalid (wrong, spent and expired alike).
        """
        user_id = _user(actor)
        fitting = self._digests.of_code(str(device_id), code)
        try:
            device = self._confirm(actor, user_id, device_id, fitting)
        except UniqueViolation as error:
            raise _busy() from error
        # Outside of the transaction: a wrong try is counted.
        if device is None:
            raise UnprocessableError("The code is not right or not valid any more.", code="device_code_invalid")
        return device

    def _confirm(self, actor: Actor, user_id: UUID, device_id: UUID, fitting: Sequence[bytes]) -> Device | None:
        now = self._clock.now()
        with self._database.transaction(actor) as tx:
            device = _found(store.load(tx, user_id, device_id))
            if device.status is DeviceStatus.ACTIVE:
                return device
            digest = store.try_code(tx, user_id, device_id, rules.CODE_TRIES, now)
            if digest is None or not any(hmac.compare_digest(digest, one) for one in fitting):
                return None
            store.take_number(tx, user_id, device_id)
            store.activate(tx, user_id, device_id, None, now)
            self._note(tx, user_id, "notification_device.confirmed", device_id, device.channel)
            return _found(store.load(tx, user_id, device_id))

    def list_devices(self, actor: Actor) -> list[Device]:
        """The caller's devices, newest first."""
        with self._database.transaction(actor) as tx:
            return store.list_of(tx, _user(actor))

    def remove_device(self, actor: Actor, device_id: UUID) -> None:
        """Remove a device; what waits for it is not sent. Raises NotFoundError device_not_found."""
        user_id = _user(actor)
        with self._database.transaction(actor) as tx:
            device = _found(store.load(tx, user_id, device_id))
            store.delete(tx, user_id, device_id)
            self._note(tx, user_id, "notification_device.removed", device_id, device.channel)

    def _put_code(self, tx: Transaction, user_id: UUID, device_id: UUID, code: Secret[str], now: datetime) -> None:
        since = preferences.spend_code(tx, user_id, now, now - rules.CODES_WINDOW, rules.CODES_PER_WINDOW)
        if since is not None:
            wait = int((since + rules.CODES_WINDOW - now).total_seconds()) + 1
            raise RateLimitedError(
                "No more codes are texted for now.",
                quota="notification_codes",
                retry_after_s=max(1, wait),
                limit=rules.CODES_PER_WINDOW,
                window_s=int(rules.CODES_WINDOW.total_seconds()),
            )
        digest = self._digests.of_code(str(device_id), code)[0]
        store.put_code(tx, user_id, device_id, digest, now + rules.CODE_AGE, now)

    def _text(self, actor: Actor, user_id: UUID, device: Device, number: Secret[str], code: Secret[str]) -> None:
        """Hand the code over. One that no provider took is sent anew when the same operation comes again."""
        with self._database.transaction(actor) as tx:
            wishes = preferences.load(tx, user_id)
        texts = rules.render(rules.DEVICE_CODE, wishes.locale, wishes.time_zone, {"code": code.reveal()})
        message = Rendered(None, texts.sms, {"template": rules.DEVICE_CODE, "code": code.reveal()})
        try:
            self._carriers.send("sms", number, message, self._ids.new())
        except ProviderRefusedError as error:
            with self._database.transaction(actor) as tx:
                store.delete(tx, user_id, device.device_id)
            raise UnprocessableError("No message can be sent to this number.", code="phone_number_refused") from error
        with self._database.transaction(actor) as tx:
            store.note_sent(tx, user_id, device.device_id, self._clock.now())

    def _note(self, tx: Transaction, user_id: UUID, action: str, device_id: UUID, channel: Channel) -> None:
        audit.append(
            tx,
            subject_type="user",
            subject_id=user_id,
            entry_id=self._ids.new(),
            action=action,
            occurred_at=self._clock.now(),
            new={"device_id": str(device_id), "channel": channel.value},
        )


def address_field(digest: bytes) -> str:
    """The field as which a device's address is sealed: it opens beside its own digest only."""
    return f"device:{digest.hex()}"


def _row(user_id: UUID, device_id: UUID, wanted: NewDevice, digest: bytes, sealed: bytes, now: datetime) -> store.NewRow:
    push = wanted.channel is Channel.PUSH
    number = wanted.phone_number
    return store.NewRow(
        user_id=user_id,
        device_id=device_id,
        channel=wanted.channel,
        platform=wanted.platform if push else None,
        address_sealed=sealed,
        address_digest=digest,
        last_four=number.reveal()[-4:] if number is not None and not push else None,
        # A number becomes UNCONFIRMED with its code, in the same transaction.
        status=DeviceStatus.ACTIVE if push else DeviceStatus.UNCONFIRMED,
        created_at=now,
    )


def _user(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise NotFoundError("There is no such device.", code="device_not_found")
    return actor.user_id


def _busy() -> ConflictError:
    return ConflictError("Somebody else is registering the same device; try again.", code="device_busy")


def _found(device: Device | None) -> Device:
    if device is None:
        raise NotFoundError("There is no such device.", code="device_not_found")
    return device
