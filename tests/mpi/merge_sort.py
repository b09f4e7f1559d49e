#!/usr/bin/env python3
"""Merge sort over MPI, as a teaching cluster does it: the first process makes the numbers and gives each process a part, each
sorts its own, and the first one merges them. usage: merge_sort.py COUNT FOLDER

The numbers as they were given and as they were sorted go into FOLDER, for whom it concerns to compare. One line of JSON tells
on which computers it ran, how long it took, and the processor time of the process that sorted longest and of the merging."""

import array
import json
import random
import sys
import time

from mpi4py import MPI


def merge(left, right):
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


def merge_sort(numbers):
    if len(numbers) < 2:
        return numbers
    middle = len(numbers) // 2
    return merge(merge_sort(numbers[:middle]), merge_sort(numbers[middle:]))


def merge_all(parts):
    while len(parts) > 1:
        pairs = [merge(*parts[at : at + 2]) for at in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[len(pairs) * 2 :]
    return parts[0]


def measured(work, what):
    start = time.process_time()
    done = work(what)
    return done, time.process_time() - start


def keep(folder, name, numbers):
    with open(f"{folder}/{name}", "wb") as file:
        array.array("I", numbers).tofile(file)


def main(count, folder):
    world = MPI.COMM_WORLD
    parts = None
    if world.rank == 0:
        numbers = [random.getrandbits(32) for _ in range(count)]
        keep(folder, "given", numbers)
        parts = [numbers[part :: world.size] for part in range(world.size)]
    world.Barrier()
    start = MPI.Wtime()
    part, sorting = measured(merge_sort, world.scatter(parts))
    parts = world.gather(part)
    longest = world.reduce(sorting, MPI.MAX)
    hosts = world.gather(MPI.Get_processor_name())
    if world.rank == 0:
        numbers, merging = measured(merge_all, parts)
        took = MPI.Wtime() - start
        keep(folder, "sorted", numbers)
        print(json.dumps({"hosts": hosts, "seconds": took, "sorting": longest, "merging": merging}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
