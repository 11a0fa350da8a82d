"""Start the processor and network: `python -m local.simulators.processor --port N --data DIR`."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI

from local.simulators.faults import Misbehaviour
from local.simulators.processor import cards, controls, drift, embed, lifecycle, network, settlement
from local.simulators.serving import Setting, arguments, new_app, read_setting, required, serve
from local.simulators.signing import Signer


def make_app(
    setting: Setting, signer: Signer, misbehaviour: Misbehaviour, authorization_url: str, webhook_url: str | None
) -> FastAPI:
    """The simulator's application."""
    wire = network.Network(setting, signer, misbehaviour, authorization_url)
    after = lifecycle.Lifecycle(setting, signer, misbehaviour, webhook_url)
    settling = settlement.Settlement(setting)
    database = cards.open_cards(setting)
    made = cards.Cards(database, setting.clock)
    views = embed.Embeds(database, setting.clock)

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        delivering = asyncio.create_task(after.deliver_due())
        yield
        delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await delivering
        settling.close()
        await after.close()
        await wire.close()
        database.close()

    app = new_app("Issuer processor and card network simulator", life)
    app.include_router(cards.routes(setting, made, misbehaviour))
    app.include_router(embed.routes(setting, made, views))
    app.include_router(drift.routes(made))
    app.include_router(network.routes(wire))
    app.include_router(lifecycle.routes(after))
    app.include_router(settlement.routes(setting, settling))
    app.include_router(controls.clock_routes(setting.clock))
    app.include_router(controls.fault_routes(setting.faults))
    return app


def main() -> None:
    """Serve until SIGTERM."""
    parser = arguments("processor", "Issuer processor and card network simulator.")
    parser.add_argument("--secret", help="what requests to the issuer are signed with, whsec_...; or PROCESSOR_SECRET")
    parser.add_argument("--authorization-url", help="where the issuer decides; or AUTHORIZATION_URL")
    parser.add_argument("--processor-webhook-url", help="where the issuer takes events; or PROCESSOR_WEBHOOK_URL")
    options = parser.parse_args()
    setting = read_setting(parser, options)
    secret = required(parser, options.secret or os.environ.get("PROCESSOR_SECRET"), "--secret")
    url = required(parser, options.authorization_url or os.environ.get("AUTHORIZATION_URL"), "--authorization-url")
    webhook_url = options.processor_webhook_url or os.environ.get("PROCESSOR_WEBHOOK_URL") or None
    misbehaviour = Misbehaviour(setting.faults, "processor")
    serve(make_app(setting, Signer(secret, setting.clock), misbehaviour, url, webhook_url), misbehaviour, setting.port)


if __name__ == "__main__":
    main()
