#!/bin/sh
# shellcheck disable=SC2086,SC2046,SC2013,SC2129 # lists of names
# The rules a reader relies on, checked on every build: usage tests/tree_rules.sh <source dir> [libblemish.a]
# Prints every breach and exits 1; silent and 0 when there is none.
# A file states its layer ("Layer N") in its first comment; a .c file that states none has that of its header.
cd "$1" || exit 2
library=${2:-}
bad=$(mktemp) || exit 2
trap 'rm -f "$bad"' EXIT
sources=$(find runtime models cli -name '*.[ch]' | sort)
shaders=$(find shaders -name '*.comp' -o -name '*.glsl' | sort)
code="$sources $shaders $(find tests shaders/inc -name '*.[ch]' | sort)"
tables="shaders/kernels.def shaders/peaks.def runtime/ops.def"
scripts=$(find scripts tests -name '*.sh' | sort)
[ ! -f .ci/run ] || scripts="$scripts .ci/run"
text="$code $tables $scripts CMakeLists.txt tests/tests.cmake shaders/shaders.cmake"

layer() { # of a .h or .c file; nothing if neither it nor its header states one
    for h in "$1" "${1%.[ch]}.h"; do sed -n '1,15s/.*Layer \([0-9]\)\..*/\1/p' "$h" 2>/dev/null; done | head -n 1
}
layers=$(for f in $sources; do echo "$f $(layer "$f")"; done)
layer_of() { echo "$layers" | awk -v f="$1" '$1 == f { print $2 }'; }

# --- layers: an include of the file's own layer or below; no two headers of one name, so that a name says which file it is
for f in $sources; do
    mine=$(layer_of "$f")
    [ -n "$mine" ] || { echo "$f: states no layer"; continue; }
    case $f in
    cli/*) [ "$mine" -eq 6 ] || echo "$f: states layer $mine, is in layer 6" ;;
    models/*) [ "$mine" -ge 4 ] && [ "$mine" -le 5 ] || echo "$f: states layer $mine, is in layer 4 or 5" ;;
    *) [ "$mine" -le 3 ] || echo "$f: states layer $mine, is in layers 0 to 3" ;;
    esac
    for inc in $(sed -n 's/^ *# *include *"\(.*\)".*/\1/p' "$f"); do
        for d in runtime models cli; do
            theirs=$(layer_of "$d/$inc")
            [ -z "$theirs" ] || [ "$theirs" -le "$mine" ] || echo "$f: layer $mine includes $inc of layer $theirs"
            case $f:$d in cli/*:runtime | cli/*:models)
                [ ! -f "$d/$inc" ] || [ "$inc" = blemish.h ] || echo "$f: the command line sees blemish.h only, not $inc" ;;
            esac
        done
    done
done >>"$bad"
for f in $sources; do basename "$f"; done | grep '\.h$' | sort | uniq -d | sed 's/$/: two headers of this name/' >>"$bad"
grep -lE '# *include *[<"](volk|vulkan)' $code |
    grep -vE '^runtime/(device|memory|stream|kernel|pipeline_cache|vulkan_api|blemish_vulkan)\.[ch]$|^tests/' |
    sed 's/$/: includes Vulkan/' >>"$bad"

# --- form
for f in $code; do
    n=$(wc -l <"$f")
    case $f in shaders/*.h | *.[ch]) max=800 ;; *) max=300 ;; esac
    [ "$n" -le "$max" ] || echo "$f: $n lines, at most $max"
done >>"$bad"
for f in $text; do [ -z "$(tail -c 1 "$f")" ] || echo "$f: no newline at the end"; done >>"$bad"
grep -nE "$(printf '\t')| \$|$(printf '\r')" $text | sed 's/:\([0-9]*\):.*/:\1: tab or trailing space/' >>"$bad"
awk 'length($0) > 140 && !/^K\(/ { print FILENAME ":" FNR ": " length($0) " columns, at most 140" }' $code $scripts >>"$bad"
grep -nE '"[^"]*/(home|root|tmp|opt|srv|mnt|usr)/' $sources $shaders CMakeLists.txt shaders/shaders.cmake tests/tests.cmake |
    sed 's/:\([0-9]*\):.*/:\1: absolute path/' >>"$bad"
grep -nE '(^|[ "=])/(home|root|srv|mnt|opt)/' $scripts | sed 's/:\([0-9]*\):.*/:\1: absolute path/' >>"$bad"
grep -q "of kernels $(sh scripts/kernels-sum.sh) " docs/portability.md || echo "docs/portability.md: of other kernels than these" >>"$bad"
# The library neither prints nor ends the program, and takes memory by bl_alloc only, which is in base.c.
grep -nE '(^|[^a-z_])(printf|puts|fprintf|perror|abort|exit|_exit)\(' $(echo "$sources" | grep -v '^cli/') |
    sed 's/:\([0-9]*\):.*/:\1: a library does not print or exit/' >>"$bad"
grep -nE '(^|[^a-z_])(malloc|calloc|realloc|strdup)\(' $(echo "$sources" | grep -vE '^cli/|^runtime/base\.c$') |
    sed 's/:\([0-9]*\):.*/:\1: host memory other than by bl_alloc and bl_resize/' >>"$bad"

# --- tables: implementation -> op, shader; op -> reference, cases; shader -> implementation
sed -n 's/^O(\([a-z0-9_]*\),.*/\1/p' runtime/ops.def | while read -r op; do
    grep -qE "^(BL_REF\($op\b|void ref_$op\()" runtime/ref_*.c || echo "runtime/ops.def: $op has no ref_$op in runtime/ref_*.c"
    grep -qE "cases_$op\[\]|BL_CASES\($op\b" runtime/op_*.c || echo "runtime/ops.def: $op has no cases_$op in runtime/op_*.c"
    grep -q "^K([a-z0-9_]*, $op," shaders/kernels.def || echo "runtime/ops.def: $op has no row in shaders/kernels.def"
done >>"$bad"
sed -n 's/^K(\([a-z0-9_]*\), *\([a-z0-9_]*\), *\([a-z0-9_]*\),.*/\1 \2 \3/p' shaders/kernels.def | while read -r name op shader; do
    grep -q "^O($op," runtime/ops.def || echo "shaders/kernels.def: $name: no row $op in runtime/ops.def"
    [ -f "shaders/$shader.comp" ] || echo "shaders/kernels.def: $name: no shaders/$shader.comp"
    case $name in "$op"*) ;; *) echo "shaders/kernels.def: $name: does not start with the name of its op, $op" ;; esac
done >>"$bad"
sed -n 's/^P([a-z0-9_]*, *\([a-z0-9_]*\),.*/\1/p' shaders/peaks.def | while read -r shader; do
    [ -f "shaders/$shader.comp" ] || echo "shaders/peaks.def: no shaders/$shader.comp"
done >>"$bad"
sed -n 's/^K(\([a-z0-9_]*\),.*/\1/p' shaders/kernels.def | sort | uniq -d | sed 's/^/shaders\/kernels.def: twice: /' >>"$bad"
for f in shaders/*.comp; do
    k=$(basename "$f" .comp)
    grep -qE "^K\([a-z0-9_]*, [a-z0-9_]*, $k,|^P\([a-z0-9_]*, $k," shaders/kernels.def shaders/peaks.def ||
        echo "$f: no row in shaders/kernels.def or shaders/peaks.def"
done >>"$bad"

# --- symbols: visible are the functions of the two headers; the hidden ones have our prefix, an op table's, or are volk's
if [ -n "$library" ]; then
    readelf -sW "$library" 2>/dev/null | awk '$5 == "GLOBAL" && $7 != "UND" && NF == 8 { print $6, $8 }' | sort -u >"$bad.symbols"
    grep -q '^DEFAULT bl_version$' "$bad.symbols" || echo "$library: does not export bl_version: is it the library?" >>"$bad"
    while read -r visibility name; do
        if [ "$visibility" = DEFAULT ]; then
            grep -qE "^BL_API .*[ *]$name\(" runtime/blemish.h runtime/blemish_vulkan.h || echo "exported, but in no public header: $name"
        else
            case $name in
            bl_* | ref_* | cases_* | case_count_* | extents_* | flops_* | depth_* | vk[A-Z]* | volk[A-Z]*) ;;
            *) echo "global symbol without prefix: $name" ;;
            esac
        fi
    done <"$bad.symbols" >>"$bad"
    rm -f "$bad.symbols"
fi
cat "$bad"
[ ! -s "$bad" ]
