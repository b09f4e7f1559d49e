#!/usr/bin/env python3
"""blackbox.py PORT LIST: asks Prometheus' blackbox exporter on PORT of this machine for each address in LIST, every second.

As Prometheus does: one request over HTTP for each node and round, spread evenly, over connections that stay open. Its own
processor time is not counted.
"""
import http.client
import queue
import sys
import threading
import time

PORT, LIST = int(sys.argv[1]), sys.argv[2]
THREADS = 16


def ask(addresses):
    connection = None
    while True:
        address = addresses.get()
        path = f"/probe?module=node&target={address}"
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection = None


def main():
    with open(LIST, encoding="ascii") as file:
        nodes = file.read().split()
    addresses = queue.Queue()
    for _ in range(THREADS):
        threading.Thread(target=ask, args=(addresses,), daemon=True).start()
    begin = time.monotonic()
    asked = 0
    while True:
        due = int((time.monotonic() - begin) * len(nodes))
        for number in range(asked, due):
            addresses.put(nodes[number % len(nodes)])
        asked = due
        time.sleep(0.01)


main()
