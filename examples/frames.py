"""A loop over frames as in frames.c, from Python, with nothing but the standard library:
    python3 frames.py PREFIX MODEL OBJECT DEFECT OUT FRAME.pgm...
PREFIX is where blemish was installed. The layout of its structs is read from its header, so that it is always the library's."""
import ctypes
import glob
import re
import sys

TYPES = {"size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64, "uint32_t": ctypes.c_uint32, "int32_t": ctypes.c_int32,
         "uint8_t": ctypes.c_uint8, "int": ctypes.c_int, "float": ctypes.c_float, "double": ctypes.c_double, "char": ctypes.c_char}


def structs(header):
    """Every struct of the header as a class. Enums are ints; pointers to text are bytes, all others addresses."""
    text = re.sub(r"/\*.*?\*/|\bconst\b", "", header, flags=re.S)
    types = dict(TYPES, **{name: ctypes.c_int for name in re.findall(r"typedef enum (\w+)", text)})
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        fields = []
        for line in filter(None, (" ".join(part.split()) for part in body.split(";"))):
            function = re.match(r".*\(\*(\w+)\)\(", line)
            if function:
                fields.append((function[1], ctypes.c_void_p))
                continue
            kind, rest = re.match(r"(\w+) (.*)", line).groups()
            for pointer, field, count in re.findall(r"((?:\* ?)*)(\w+)(?:\[(\d+)\])?", rest):
                base = (ctypes.c_char_p if kind == "char" else ctypes.c_void_p) if pointer else types[kind]
                fields.append((field, base * int(count) if count else base))
        types[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return types


def options(kind, **values):
    """An options struct: its size, these values, defaults for all others."""
    return kind(struct_size=ctypes.sizeof(kind), **values)


class Error(Exception):
    pass


def check(library, result):
    if result:
        raise Error(library.bl_last_error().decode())


def read_pgm(path):
    data = open(path, "rb").read()
    head = re.match(rb"P5 (\d{1,5}) (\d{1,5}) 255\s", data)
    if not head or len(data) - head.end() < int(head[1]) * int(head[2]):
        raise Error("not a binary PGM file of 8 bits")
    return int(head[1]), int(head[2]), data[head.end():]


def main(prefix, model_dir, thing, defect, out, *paths):
    find = lambda name: glob.glob(f"{prefix}/**/{name}", recursive=True)[0]
    types, lib = structs(open(find("blemish.h")).read()), ctypes.CDLL(find("libblemish.so"))
    lib.bl_last_error.restype = ctypes.c_char_p
    context, model, failed = ctypes.c_void_p(), ctypes.c_void_p(), 0
    check(lib, lib.bl_context_create(None, ctypes.byref(context)))
    check(lib, lib.bl_model_open(context, model_dir.encode(), ctypes.byref(model)))
    for number, path in enumerate(paths, 1):
        photo, made = types["bl_image"](), types["bl_generate_result"]()
        try:
            width, height, data = read_pgm(path)
            buffer = ctypes.create_string_buffer(data, len(data))  # an industrial camera's own would do
            frame = types["bl_frame"](ctypes.cast(buffer, ctypes.c_void_p), len(data), 0, width, height, 0, 0)
            check(lib, lib.bl_image_from_frame(ctypes.byref(frame), ctypes.byref(photo)))
            wanted = options(types["bl_generate_options"], photo=ctypes.addressof(photo), object=thing.encode(), defect=defect.encode(),
                             mask_shape=b"freeform", steps=20, seed=number)
            check(lib, lib.bl_generate(model, ctypes.byref(wanted), ctypes.byref(made)))
            for picture, end in (made.mask, "_mask"), (made.image, ""):
                check(lib, lib.bl_image_write_png(f"{out}/{number:04}{end}.png".encode(), ctypes.byref(picture), None, ctypes.c_size_t(0)))
            print(f"{out}/{number:04}.png")
        except Error as e:
            print(f"{path}: {e}", file=sys.stderr)
            failed = 1
        lib.bl_generate_result_free(ctypes.byref(made))
        lib.bl_image_free(ctypes.byref(photo))
    lib.bl_model_close(ctypes.byref(model))
    lib.bl_context_destroy(ctypes.byref(context))
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 6 else __doc__)
