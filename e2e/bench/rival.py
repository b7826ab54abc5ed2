"""Takes an image through paramiko, as a contender of the benchmark.

The way is "tunnel", as in Margarita Shotgun: a local port whose connection a thread
relays to a direct-tcpip channel, 64 KiB at a time, under paramiko's own choice of
cipher, which is AES-CTR with an HMAC; or "direct": the channel itself, under the
cipher that the others use, which is as fast as Python gets.

The work is "plain", as Margarita's: a file that is neither digested, compressed nor
synced; or "same" as shotglass's, with the usual modules: SHA-256 of the raw and of the
stored bytes, zstd -1, fsync.

Prints raw and stored bytes, the raw digest, and the seconds that the stream took.
"""
import hashlib
import os
import select
import socket
import sys
import threading
import time

import paramiko
import zstandard

way, work, host, port, user, keyfile, hostkey, source, out = sys.argv[1:]

transport = paramiko.Transport(socket.create_connection((host, int(port))))
if way == "direct":
    transport.get_security_options().ciphers = ["aes128-gcm@openssh.com"]
transport.packetizer.REKEY_BYTES = transport.packetizer.REKEY_PACKETS = 1 << 40  # Margarita does
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(keyfile))
key = transport.get_remote_server_key()
if f"{key.get_name()} {key.get_base64()}" != hostkey:
    sys.exit("another host key")


def relay(listener):
    conn, _ = listener.accept()
    channel = transport.open_channel("direct-tcpip", ("127.0.0.1", int(source)), conn.getpeername())
    while True:
        ready, _, _ = select.select([conn, channel], [], [])
        if conn in ready:
            data = conn.recv(1 << 16)
            if not data:
                break
            channel.sendall(data)
        if channel in ready:
            data = channel.recv(1 << 16)
            if not data:
                break
            conn.sendall(data)
    channel.close()
    conn.close()


begin = time.monotonic()
if way == "direct":
    stream = transport.open_channel("direct-tcpip", ("127.0.0.1", int(source)), ("127.0.0.1", 0))
else:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=relay, args=(listener,), daemon=True).start()
    stream = socket.create_connection(listener.getsockname())

raw = stored = 0
with open(out, "xb") as f:
    if work == "plain":
        while data := stream.recv(1 << 20):
            raw += len(data)
            f.write(data)
        stored, digest = raw, "-"
    else:
        sum_raw, sum_stored = hashlib.sha256(), hashlib.sha256()
        compressor = zstandard.ZstdCompressor(level=1).compressobj()

        def store(data):
            global stored
            if data:
                sum_stored.update(data)
                f.write(data)
                stored += len(data)

        while data := stream.recv(1 << 20):
            raw += len(data)
            sum_raw.update(data)
            store(compressor.compress(data))
        store(compressor.flush())
        f.flush()
        os.fsync(f.fileno())
        digest = sum_raw.hexdigest()
print(raw, stored, digest, time.monotonic() - begin)
transport.close()
