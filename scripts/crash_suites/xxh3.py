"""The checksums of state files, segments and manifests: xxh3 of 64 and of 128 bits, without a seed.

Written after the description of the algorithm (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), since Python has
none of its own. Slow: for files of some hundred kilobytes. `scripts/reference/test_reference.py` compares it with files of
`tests/golden`.
"""
import struct

MASK, MASK_32 = (1 << 64) - 1, (1 << 32) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3, P64_4, P64_5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def low_32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def low_64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def swapped(number, size):
    return int.from_bytes(number.to_bytes(size, "little"), "big")


def folded(one, other):
    """The two halves of a product of 128 bits, as one."""
    product = one * other
    return (product & MASK) ^ (product >> 64)


def avalanche(number):
    number ^= number >> 37
    number = number * 0x165667919E3779F9 & MASK
    return number ^ number >> 32


def avalanche_xxh64(number):
    number ^= number >> 33
    number = number * P64_2 & MASK
    number ^= number >> 29
    number = number * P64_3 & MASK
    return number ^ number >> 32


def mixed_16(data, at, key):
    return folded(low_64(data, at) ^ low_64(SECRET, key), low_64(data, at + 8) ^ low_64(SECRET, key + 8))


def short_64(data):
    """Of 16 bytes at most."""
    length = len(data)
    if length == 0:
        return avalanche_xxh64(low_64(SECRET, 56) ^ low_64(SECRET, 64))
    if length <= 3:
        combined = data[0] << 16 | data[length >> 1] << 24 | data[-1] | length << 8
        return avalanche_xxh64(combined ^ low_32(SECRET, 0) ^ low_32(SECRET, 4))
    if length <= 8:
        number = low_32(data, length - 4) + (low_32(data, 0) << 32) ^ low_64(SECRET, 8) ^ low_64(SECRET, 16)
        turned = lambda by: (number << by | number >> 64 - by) & MASK
        number ^= turned(49) ^ turned(24)
        number = number * 0x9FB21C651E98DF25 & MASK
        number ^= (number >> 35) + length
        number = number * 0x9FB21C651E98DF25 & MASK
        return number ^ number >> 28
    one = low_64(data, 0) ^ low_64(SECRET, 24) ^ low_64(SECRET, 32)
    other = low_64(data, length - 8) ^ low_64(SECRET, 40) ^ low_64(SECRET, 48)
    return avalanche(length + swapped(one, 8) + other + folded(one, other) & MASK)


def middle_64(data):
    """Of 17 to 240 bytes."""
    length = len(data)
    total = length * P64_1
    if length <= 128:
        for number in range((length - 1) // 32, -1, -1):
            total += mixed_16(data, 16 * number, 32 * number) + mixed_16(data, length - 16 * (number + 1), 32 * number + 16)
        return avalanche(total & MASK)
    total = avalanche(total + sum(mixed_16(data, at, at) for at in range(0, 128, 16)) & MASK)
    total += sum(mixed_16(data, at, at - 125) for at in range(128, length // 16 * 16, 16))
    return avalanche(total + mixed_16(data, length - 16, 119) & MASK)


def middle_128(data):
    """Of 17 to 240 bytes."""
    length = len(data)
    low, high = length * P64_1 & MASK, 0

    def mix(one, other, key):
        nonlocal low, high
        low = (low + mixed_16(data, one, key) & MASK) ^ (low_64(data, other) + low_64(data, other + 8) & MASK)
        high = (high + mixed_16(data, other, key + 16) & MASK) ^ (low_64(data, one) + low_64(data, one + 8) & MASK)

    if length <= 128:
        for number in range((length - 1) // 32, -1, -1):
            mix(16 * number, length - 16 * (number + 1), 32 * number)
    else:
        for at in range(0, 128, 32):
            mix(at, at + 16, at)
        low, high = avalanche(low), avalanche(high)
        for at in range(128, length // 32 * 32, 32):
            mix(at, at + 16, at - 125)
        mix(length - 16, length - 32, 103)
    one, other = low + high & MASK, low * P64_1 + high * P64_4 + length * P64_2 & MASK
    return -avalanche(other) % (1 << 64) << 64 | avalanche(one)


def accumulated(data):
    """The eight sums over more than 240 bytes."""
    sums = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    keys = [struct.unpack_from("<8Q", SECRET, at) for at in range(0, 129, 8)]

    def stripe(at, key):
        for lane, value in enumerate(struct.unpack_from("<8Q", data, at)):
            keyed = value ^ key[lane]
            sums[lane ^ 1] += value
            sums[lane] = sums[lane] + (keyed & MASK_32) * (keyed >> 32) & MASK

    stripes = (len(data) - 1) // 64
    for number in range(stripes):
        stripe(64 * number, keys[number % 16])
        if number % 16 == 15:
            for lane in range(8):
                value = sums[lane] & MASK
                sums[lane] = (value ^ value >> 47 ^ keys[16][lane]) * P32_1 & MASK
    stripe(len(data) - 64, struct.unpack_from("<8Q", SECRET, 121))
    return [value & MASK for value in sums]


def merged(sums, key, start):
    pairs = (folded(sums[at] ^ low_64(SECRET, key + 8 * at), sums[at + 1] ^ low_64(SECRET, key + 8 * at + 8)) for at in range(0, 8, 2))
    return avalanche(start + sum(pairs) & MASK)


def xxh3_64(data):
    """The checksum of a section of a state file."""
    if len(data) <= 16:
        return short_64(data)
    if len(data) <= 240:
        return middle_64(data)
    return merged(accumulated(data), 11, len(data) * P64_1)


def xxh3_128(data):
    """The checksum of a manifest and of the header of a state file, which are never shorter than 17 bytes."""
    if len(data) <= 16:
        raise ValueError("no file of a lake is so short")
    if len(data) <= 240:
        return middle_128(data)
    sums = accumulated(data)
    return merged(sums, 117, ~(len(data) * P64_2) & MASK) << 64 | merged(sums, 11, len(data) * P64_1)
