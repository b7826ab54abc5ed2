"""Takes an image through paramiko, as a contender of the benchmark.

plain: what Margarita Shotgun does: the bytes of a direct-tcpip channel into a
file; nothing is digested, compressed or synced.
same: what shotglass does, with the usual modules: a SHA-256 of the raw and of the
stored bytes, zstd -1, fsync.

It is kinder than Margarita, which lets each byte through a local port first. The
cipher is a name, or "default" for paramiko's own choice, which is Margarita's: AES-CTR
with an HMAC. Prints raw and stored bytes, the raw digest, and the seconds that the
stream took.
"""
import hashlib
import os
import socket
import sys
import time

import paramiko
import zstandard

mode, cipher, host, port, user, keyfile, hostkey, source, out = sys.argv[1:]

transport = paramiko.Transport(socket.create_connection((host, int(port))))
if cipher != "default":
    transport.get_security_options().ciphers = [cipher]
transport.packetizer.REKEY_BYTES = transport.packetizer.REKEY_PACKETS = 1 << 40  # Margarita does
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(keyfile))
key = transport.get_remote_server_key()
if f"{key.get_name()} {key.get_base64()}" != hostkey:
    sys.exit("another host key")

begin = time.monotonic()
channel = transport.open_channel("direct-tcpip", ("127.0.0.1", int(source)), ("127.0.0.1", 0))
raw = stored = 0
with open(out, "xb", buffering=0) as f:
    if mode == "plain":
        while data := channel.recv(1 << 20):
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

        while data := channel.recv(1 << 20):
            raw += len(data)
            sum_raw.update(data)
            store(compressor.compress(data))
        store(compressor.flush())
        os.fsync(f.fileno())
        digest = sum_raw.hexdigest()
print(raw, stored, digest, time.monotonic() - begin)
transport.close()
