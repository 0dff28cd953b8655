"""The line to the broker: TLS, reconnect, last will, QoS 1, a session that outlives both ends.

paho's own thread keeps the line; it only puts what arrives into a queue. The controller's tick empties the
queue, so no message is looked at outside the tick (docs/decisions/011-field-messages.md).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from .detection import CrossingRequest, Frame
from .errors import FieldFault
from .field_sources import FieldSource
from .inbox import Arrival, Inbox
from .messages import MAX_BYTES, MESSAGE_VERSION, Drop, Status, to_json, topic
from .plan import SitePlan

QOS = 1
"""At least once: a repeated message is told by its sequence number."""
RECONNECT_S = (0.25, 8.0)
"""Pause before the first and the last of the attempts to connect, doubling in between. [s] [A]"""
KEEPALIVE_S = 5
"""Without a sign of life for one and a half of this, the broker sends the last will. [s] [A]"""
QUEUE_MAX = 4_096
"""Arrivals kept until the next tick; more drop the oldest [A]."""
CLOSE_S = 5.0
"""How long a clean stop waits for its last message. [s] [A]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is, and who we are there.

    Parameters
    ----------
    host, port : of the broker; 8883 is MQTT over TLS.
    ca : file of the authority that signed the broker's certificate; None: no TLS, for tests on one machine.
    certificate, key : ours; its common name is our user name at the broker.
    """

    host: str
    port: int = 8883
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def name(self) -> str:
        """Host and port as shown in errors."""
        return f"broker {self.host}:{self.port}"


def monotonic_ds() -> float:
    """Return this machine's monotonic time. [0.1 s]"""
    return time.monotonic() * 10


def utc_ms() -> int:
    """Return the wall clock's UTC time. [ms since 1970]"""
    return time.time_ns() // 1_000_000


class Line:
    """One user's line to the broker, kept up until it is closed.

    Parameters
    ----------
    broker : where it is.
    site, user : whose topics these are; the user is also the client's name, so its session is found again.
    on_message : called in the line's thread with each arrival; must be quick.
    kinds : what to subscribe to, of every user of the site.
    clock_ds : the controller's monotonic time. [0.1 s]
    is_lasting : the broker keeps what comes while we are away; False: it forgets us.
    """

    def __init__(  # noqa: PLR0913 - a line has two ends and a clock
        self,
        broker: Broker,
        site: str,
        user: str,
        *,
        on_message: Callable[[Arrival], None] | None = None,
        kinds: Iterable[str] = (),
        clock_ds: Callable[[], float] = monotonic_ds,
        is_lasting: bool = True,
    ) -> None:
        self.broker, self.site, self.user = broker, site, user
        self.session_ms = utc_ms()
        self.refusal = ""
        self.connections = 0
        self._on_message, self._clock_ds = on_message, clock_ds
        self._own_status = topic(site, user, "status")
        self._filters = [(topic(site, "+", kind), QOS) for kind in kinds]
        self._ready = Event()
        self._sent = self._taken = 0
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"{site}.{user}", clean_session=not is_lasting
        )
        client.will_set(self._own_status, self._status("offline"), QOS, retain=True)
        client.reconnect_delay_set(*RECONNECT_S)  # type: ignore[arg-type]  # it only ever adds them
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_subscribe, client.on_message = self._subscribed, self._arrived
        client.on_publish, client.on_socket_open = self._was_taken, _send_at_once
        if broker.ca is not None:
            client.tls_set_context(_tls(broker))

    def open(self, *, wait_s: float | None = None) -> None:
        """Start the line; it goes on trying by itself.

        Parameters
        ----------
        wait_s : None returns at once; else wait so long for the broker. [s]

        Raises
        ------
        FieldFault : the broker could not be reached in `wait_s`, or refuses us.
        """
        if wait_s is None:
            self._client.connect_async(self.broker.host, self.broker.port, KEEPALIVE_S)
            self._client.loop_start()
            return
        try:
            self._client.connect(self.broker.host, self.broker.port, KEEPALIVE_S)
        except OSError as fault:
            raise FieldFault(self.broker.name, f"no connection: {fault.strerror or fault}") from None
        self._client.loop_start()
        if not self._ready.wait(wait_s):
            self._client.disconnect()
            self._client.loop_stop()
            cause = self.refusal or f"does not answer within {wait_s:.0f} s"
            raise FieldFault(
                self.broker.name, f"{cause}; user {self.user}: check its certificate and access list"
            )

    def publish(self, kind: str, payload: bytes, *, user: str | None = None) -> None:
        """Send a message; while the line is down it waits and goes out in its order."""
        self._say(topic(self.site, user or self.user, kind), payload)

    def undelivered(self, *, wait_s: float) -> int:
        """Return how many messages the broker has not taken, after waiting so long for it. [s]"""
        until_s = time.monotonic() + wait_s
        while self._taken < self._sent and time.monotonic() < until_s:
            time.sleep(0.02)
        return self._sent - self._taken

    def _say(self, where: str, payload: bytes, *, is_kept: bool = False) -> paho.MQTTMessageInfo:
        self._sent += 1
        return self._client.publish(where, payload, QOS, retain=is_kept)

    def _was_taken(self, _client: Any, _userdata: Any, _mid: int, _reason: Any, _properties: Any) -> None:
        self._taken += 1

    @property
    def is_up(self) -> bool:
        """Whether the line is connected now."""
        return self._ready.is_set()

    def close(self) -> None:
        """Send what waits, say that we leave, and end the line; the last will is not needed then."""
        if self.is_up:
            said = self._say(self._own_status, self._status("offline"), is_kept=True)
            try:
                said.wait_for_publish(CLOSE_S)
            except (RuntimeError, ValueError) as fault:  # the line broke or its queue is full
                self.refusal = str(fault)
        self._client.disconnect()
        self._client.loop_stop()

    def _status(self, state: Any) -> bytes:
        return to_json(
            Status(
                message_version=MESSAGE_VERSION,
                type="status",
                sender=self.user,
                session_ms=self.session_ms,
                state=state,
            )
        )

    def _connected(self, client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refusal = f"refuses us: {reason}"
            return
        self.connections += 1
        self._say(self._own_status, self._status("online"), is_kept=True)
        if self._filters:
            client.subscribe(self._filters)
        else:
            self._ready.set()

    def _subscribed(self, _client: Any, _userdata: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self.refusal = "lets us not subscribe"
        else:
            self._ready.set()

    def _disconnected(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._ready.clear()
        if reason.is_failure:
            self.refusal = f"ended the line: {reason}"

    def _arrived(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        if self._on_message is None or message.topic == self._own_status:
            return
        payload = bytes(message.payload[: MAX_BYTES + 1])  # one byte too many is reason enough to drop it
        self._on_message(
            Arrival(message.topic, payload, time.time_ns() / 1e6, self._clock_ds(), message.retain)
        )


class MqttSource:
    """Detections and requests from the broker: a detection source for the control loop.

    Parameters
    ----------
    plan : the site.
    sources : who may speak, and of what.
    broker : where the broker is.
    user : our name there.
    clock_ds : the same monotonic time that `frames` is called with. [0.1 s]
    """

    def __init__(
        self,
        plan: SitePlan,
        sources: Iterable[FieldSource],
        broker: Broker,
        user: str = "controller",
        *,
        clock_ds: Callable[[], float] = monotonic_ds,
    ) -> None:
        self.inbox = Inbox(plan, sources)
        self.arrived = Event()
        self._queue: deque[Arrival] = deque()
        self._overflowed = 0
        self.line = Line(
            broker, plan.site.id, user, on_message=self._put, kinds=("detections", "requests", "status"),
            clock_ds=clock_ds,
        )  # fmt: skip

    def open(self, *, wait_s: float | None = None) -> None:
        """Start listening; see `Line.open`."""
        self.line.open(wait_s=wait_s)

    def close(self) -> None:
        """Stop listening; the broker keeps what comes until we are back."""
        self.line.close()

    def _put(self, arrival: Arrival) -> None:
        if len(self._queue) >= QUEUE_MAX:
            self._queue.popleft()
            self._overflowed += 1
        self._queue.append(arrival)
        self.arrived.set()

    def take_in(self, now_ds: int) -> int:
        """Look at all that arrived up to a tick; return how many that was. [0.1 s]"""
        self.arrived.clear()
        if self._overflowed:
            self.inbox.dropped[Drop.OVERFLOW] += self._overflowed
        self._overflowed = taken = 0
        while self._queue and self._queue[0].received_ds < now_ds + 1:
            self.inbox.deliver(self._queue.popleft())
            taken += 1
        if self._queue:
            self.arrived.set()
        return taken

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Return the newest frame of each crossing, in the plan's order; blind ones while there is none."""
        self.take_in(now_ds)
        return self.inbox.frames(now_ds)

    def requests(self, now_ds: int) -> tuple[CrossingRequest, ...]:
        """Return the open requests, in order of arrival."""
        self.take_in(now_ds)
        return self.inbox.requests(now_ds)


def _tls(broker: Broker) -> ssl.SSLContext:
    """Return a context that accepts only the site's own authority, TLS 1.2 or newer.

    Raises
    ------
    FieldFault : a certificate or key cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(broker.ca))
        if broker.certificate is not None:
            context.load_cert_chain(str(broker.certificate), None if broker.key is None else str(broker.key))
    except OSError as fault:  # ssl.SSLError is one
        files = ", ".join(str(each) for each in (broker.ca, broker.certificate, broker.key) if each)
        raise FieldFault(broker.name, f"certificates {files}: {fault.strerror or fault}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _send_at_once(_client: Any, _userdata: Any, link: Any) -> None:
    """Send small messages without waiting for more to come (TCP_NODELAY)."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
