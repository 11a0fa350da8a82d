"""A whole stack: which parts there are, in what order they start, what each is told, what clients may read of it."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from cardwright.kernel import environment as names
from cardwright.kernel.rows import API_PREFIX, Capability, Row, Url
from local import environment
from local.clock import ClockFile
from local.doors import keep_or_choose, listen
from local.home import Home, StackError, load_secrets
from local.parts import Part, Program, Server, answers
from local.processes import end_all, forget, leftovers, record
from local.seed.cloud import CloudResources, seed_cloud
from local.seed.database import DATABASE, count_users, prepare_database
from local.seed.people import as_published, everyone
from local.servers.postgres import PostgresServer
from local.servers.valkey import ValkeyServer
from local.supervisor import Supervisor

REST_PROCESSES: Final = 2
URL_PROCESSES: Final = 2
_SINGLE_KEYS: Final = ("postgres", "valkey", "aws", "processor", "kyc", "messages")
_SEED_S: Final = 120.0
_READY_S: Final = 20.0
_TELL_READY: Final = ("local.gateway", "local.workers")


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose: the gateway's port and whether quotas are enforced."""

    port: int = 8080
    rate_limits: bool = True


@dataclass
class Ports:
    """Ports of the parts, kept from run to run while they are free."""

    authorization: int
    aws: int
    processor: int
    kyc: int
    messages: int
    invocations: int


@dataclass
class Stack:
    """Starts, describes, watches and stops one stack in one folder."""

    home: Home
    options: Options
    rows: Sequence[Row]
    say: Callable[[str], None] = print
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Read what is kept; nothing starts yet. Raises StackError when the folder or the port cannot be had."""
        self.home.prepare()
        self._lock = self.home.lock()
        self._rest_door = listen(self.options.port)
        self._ports = self._choose_ports()
        self._url_door = listen(self._ports.authorization)
        self._secrets = load_secrets(self.home)
        ClockFile.create(self.home.clock_file).close()
        self._supervisor = Supervisor(self.say, self._describe)
        self._postgres = Server("postgres", self._make_postgres)
        self._valkey = Server("valkey", self._make_valkey)
        self._describing = threading.Lock()
        self._up = False

    def _choose_ports(self) -> Ports:
        remembered = self.home.read_json("ports.json")
        chosen: dict[str, int] = {}
        for name in Ports.__dataclass_fields__:
            port = keep_or_choose(remembered.get(name))
            while port in chosen.values():
                port = keep_or_choose(None)
            chosen[name] = port
        self.home.write_json("ports.json", chosen)
        return Ports(**chosen)

    def _make_postgres(self, port: int | None) -> PostgresServer:
        return PostgresServer(self.home.data("postgres"), port, log=self.home.log("postgres"))

    def _make_valkey(self, port: int | None) -> ValkeyServer:
        return ValkeyServer(self.home.data("valkey"), port, log=self.home.log("valkey"))

    @property
    def base_url(self) -> str:
        """Where the REST API answers."""
        return f"http://127.0.0.1:{self.options.port}"

    @property
    def database_url(self) -> str:
        """The superuser's URL of the stack's database."""
        return self._postgres.server.url(DATABASE)

    def _role_url(self, role: str) -> str:
        return f"postgresql://{role}:{self._secrets['roles'][role]}@127.0.0.1:{self._postgres.server.port}/{DATABASE}"

    def start(self) -> None:
        """Start everything, in parallel where it can be; then publish `stack.json`. Raises StackError."""
        self.home.stack_file.unlink(missing_ok=True)
        self._end_leftovers()
        with ThreadPoolExecutor(8, thread_name_prefix="start") as pool:
            cloud = pool.submit(self._start_cloud)
            ready: list[Future[Any]] = [
                pool.submit(self._start_database),
                pool.submit(self._start, self._valkey),
                cloud,
            ]
            ready += [pool.submit(self._start, program) for program in self._simulators()]
            self._wait(ready)
            functions = self._function_environment(cloud.result())
            doors = [pool.submit(self._start, program) for program in self._doors(functions, cloud.result())]
            self._wait([pool.submit(self._seed_people, functions), *doors])
        self._ask_readiness()
        self._up = True
        self._describe()

    def _ask_readiness(self) -> None:
        """The functions' own word on their dependencies, as clients would ask for it."""
        deadline = time.monotonic() + _READY_S
        while not answers(f"{self.base_url}/readyz"):
            if self.stopping.is_set() or time.monotonic() > deadline:
                raise StackError(f"{self.base_url}/readyz is not content: see its answer and {self.home.root / 'logs'}")
            time.sleep(0.1)

    def _wait(self, futures: Sequence[Future[Any]]) -> None:
        """Wait for all; at the first failure stop the rest, so that none waits for what will not come."""
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
            failed = [error for future in done if (error := future.exception()) is not None]
            if failed or self.stopping.is_set():
                self._supervisor.stop()
                raise failed[0] if failed else StackError("stopped before it was up")

    def _start(self, part: Part) -> None:
        began = time.monotonic()
        self._supervisor.start(part)
        self._record()
        self.say(f"  {part.name:16} {time.monotonic() - began:5.1f} s")

    def _start_database(self) -> None:
        self._start(self._postgres)
        began = time.monotonic()
        applied = prepare_database(
            self._postgres.server.url(), self.database_url, self._role_url("migrator"), self._secrets["roles"]
        )
        self.say(f"  {'migrations':16} {time.monotonic() - began:5.1f} s  ({len(applied)} applied)")

    def _start_cloud(self) -> CloudResources:
        port = self._ports.aws
        arguments = ["--port", str(port), "--data", str(self.home.data("aws"))]
        self._start(self._program("aws", "local.aws", arguments, {}, f"http://127.0.0.1:{port}/healthz"))
        documents = environment.secret_documents(self._secrets)
        return seed_cloud(f"http://127.0.0.1:{port}", self.rows, documents)

    def _program(
        self,
        name: str,
        module: str,
        arguments: list[str],
        variables: dict[str, str],
        ready_url: str | None = None,
        *,
        key: str | None = None,
        descriptors: tuple[int, ...] = (),
    ) -> Program:
        settings = {**environment.base_environment(), "CARDWRIGHT_HOME": str(self.home.root), **variables}
        tells_ready = module in _TELL_READY
        return Program(name, key or name, module, arguments, settings, self.home.log(name), ready_url, tells_ready, descriptors)

    def _simulators(self) -> list[Program]:
        return [
            self._simulator("processor", self._ports.processor),
            self._simulator("kyc", self._ports.kyc),
            self._simulator("messages", self._ports.messages),
        ]

    def _simulator(self, name: str, port: int) -> Program:
        variables = {
            "CLOCK_FILE": str(self.home.clock_file),
            "FAULTS_FILE": str(self.home.root / "faults.json"),
            "PROCESSOR_API_KEY": self._secrets["processor_api_key"],
            "PROCESSOR_SECRET": self._secrets["processor_secret"],
            "AUTHORIZATION_URL": self.authorization_url,
            "PROCESSOR_WEBHOOK_URL": self.processor_webhook_url,
            "KYC_API_KEY": self._secrets["kyc_api_key"],
            "KYC_SECRET": self._secrets["kyc_secret"],
            "MESSAGES_API_KEY": self._secrets["messages_api_key"],
        }
        arguments = ["--port", str(port), "--data", str(self.home.data(name))]
        url = f"http://127.0.0.1:{port}/healthz"
        return self._program(name, f"local.simulators.{name}", arguments, variables, url)

    @property
    def authorization_url(self) -> str:
        """Where the card network asks for authorizations."""
        path = next((row.full_path for row in self.rows if isinstance(row, Url)), "/")
        return f"http://127.0.0.1:{self._ports.authorization}{path}"

    @property
    def processor_webhook_url(self) -> str:
        """Where the processor tells what becomes of transactions."""
        return f"{self.base_url}{API_PREFIX}/webhooks/processor-events"

    def _doors(self, functions: dict[str, str], cloud: CloudResources) -> list[Program]:
        doors = []
        for door, count, listener in (
            ("rest", REST_PROCESSES, self._rest_door),
            ("url", URL_PROCESSES, self._url_door),
        ):
            for number in range(1, count + 1):
                descriptor = listener.fileno()
                arguments = [door, "--fd", str(descriptor)]
                name = f"gateway-{door}-{number}"
                doors.append(self._program(name, "local.gateway", arguments, functions, key="gateway", descriptors=(descriptor,)))
        arguments = ["--queues", json.dumps(cloud.queues), "--clock", str(self.home.clock_file)]
        arguments += ["--invocations", str(self._ports.invocations)]
        doors.append(self._program("workers", "local.workers", arguments, functions))
        return doors

    def _function_environment(self, cloud: CloudResources) -> dict[str, str]:
        loopback = "http://127.0.0.1"
        simulated = "simulated"
        values: dict[Capability, tuple[str, ...]] = {
            Capability.DATABASE_APP: (self._role_url("app"),),
            Capability.DATABASE_WORKER: (self._role_url("worker"),),
            Capability.DATABASE_MIGRATOR: (self._role_url("migrator"),),
            Capability.CACHE: (self._valkey.server.url,),
            Capability.VAULT_KEY: (cloud.keys["vault"],),
            Capability.VAULT_DECRYPT: (cloud.keys["vault"],),
            Capability.USER_KEY: (cloud.keys["user"],),
            Capability.SIGNING_KEY: (cloud.keys["signing"],),
            Capability.SIGNING_PUBLIC_KEY: (cloud.keys["signing"],),
            Capability.MAC_KEY: (cloud.keys["mac"],),
            Capability.SEALING_SECRET: (environment.SEALING,),
            Capability.EVENT_QUEUE: (cloud.queues.get("events", ""), cloud.queues.get("notifications", "")),
            Capability.DEAD_LETTERS: (cloud.queues.get("events", ""), cloud.queues.get("notifications", "")),
            Capability.EXPORTS: (cloud.buckets["exports"],),
            Capability.EXPORT_LINKS: (cloud.buckets["exports"],),
            Capability.PROCESSOR: (
                simulated,
                f"{loopback}:{self._ports.processor}",
                environment.PROCESSOR_API,
            ),
            Capability.PROCESSOR_INBOUND: (environment.PROCESSOR_INBOUND,),
            Capability.KYC: (simulated, f"{loopback}:{self._ports.kyc}", environment.KYC_API),
            Capability.KYC_INBOUND: (environment.KYC_INBOUND,),
            Capability.MESSAGES_INBOUND: (environment.MESSAGES_INBOUND,),
            Capability.MESSAGES: (simulated, f"{loopback}:{self._ports.messages}", environment.MESSAGES_API),
            Capability.WEBHOOK_SENDER: (environment.WEBHOOK_SENDER,),
        }
        always = {
            names.STAGE: "local",
            names.PUBLIC_URL: self.base_url,
            names.OTHER_URLS: ",".join(f"{loopback}:{port}" for port in self._part_ports()),
            names.CORS_ORIGINS: environment.CORS_ORIGINS,
            names.RATE_LIMITS: "on" if self.options.rate_limits else "off",
            names.CLOCK_FILE: str(self.home.clock_file),
            **environment.aws_environment(self._ports.aws, self._ports.invocations),
            **environment.powertools_environment(),
        }
        return environment.function_environment(values, always)

    def _part_ports(self) -> list[int]:
        """Ports of the stack's parts besides the public door."""
        return [*asdict(self._ports).values(), self._postgres.server.port, self._valkey.server.port]

    def _seed_people(self, functions: dict[str, str]) -> None:
        people = self.home.read_json("users.json")
        if people:
            known = [person["user_id"] for person in everyone(people) if "user_id" in person]
            if len(known) == len(everyone(people)) == count_users(self.database_url, known):
                return
        began = time.monotonic()
        program = self._program("seed", "local.seed", [], functions)
        program.start()
        while program.running():
            if self.stopping.is_set() or time.monotonic() - began > _SEED_S:
                program.stop(1.0)
                raise StackError(f"the users could not be written in time: see {program.log}")
            time.sleep(0.05)
        if (ended := program.how_it_ended()) != "exit status 0":
            raise StackError(f"the users could not be written ({ended}): see {program.log}")
        self.say(f"  {'users':16} {time.monotonic() - began:5.1f} s")

    def _end_leftovers(self) -> None:
        found = leftovers(self.home)
        if not found:
            return
        stuck = end_all(found, grace_s=3.0)
        if stuck:
            raise StackError(f"processes of an earlier run do not end: kill -9 {' '.join(map(str, stuck))}")
        self.say(f"ended {len(found)} processes an earlier run left behind")

    def _record(self) -> None:
        with self._describing:
            programs = [part for part in self._supervisor.parts if isinstance(part, Program)]
            record(self.home, [part.pid for part in programs if part.pid is not None])

    def _pids(self) -> dict[str, Any]:
        pids: dict[str, Any] = {"supervisor": os.getpid(), "gateway": [], "workers": []}
        for part in self._supervisor.parts:
            if part.key in _SINGLE_KEYS:
                pids[part.key] = part.pid
            elif part.pid is not None:
                pids[part.key].append(part.pid)
        return pids

    def _describe(self) -> None:
        """Publish what CONTRACT section 1 lists, with today's process ids."""
        self._record()
        if not self._up or self.stopping.is_set():
            return
        loopback = "http://127.0.0.1"
        with self._describing:
            self.home.write_json(
                "stack.json",
                {
                    "base_url": self.base_url,
                    "authorization_url": self.authorization_url,
                    "processor_webhook_url": self.processor_webhook_url,
                    "processor_secret": self._secrets["processor_secret"],
                    "database_url": self.database_url,
                    "cache_url": self._valkey.server.url,
                    "aws_endpoint_url": f"{loopback}:{self._ports.aws}",
                    "mailbox_url": f"{loopback}:{self._ports.messages}",
                    "simulator_url": f"{loopback}:{self._ports.processor}",
                    "pids": self._pids(),
                    "users": as_published(self.home.read_json("users.json")),
                },
            )

    def watch(self) -> None:
        """Look after the parts until `stopping` is set."""
        self._supervisor.watch(self.stopping)

    def stop(self) -> None:
        """Take back `stack.json` and stop everything."""
        self.stopping.set()
        with self._describing:
            self.home.stack_file.unlink(missing_ok=True)
        self._supervisor.stop()
        forget(self.home)
        with contextlib.suppress(OSError):
            self._rest_door.close()
            self._url_door.close()
