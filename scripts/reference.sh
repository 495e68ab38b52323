# To be read by the other scripts, in the repository root: finds the folder with reference models, golden tensors and photos.
# It is not part of the project. BLEMISH_REFERENCE names it; else shared/reference beside or inside the checkout; else there is none.
if [ -z "${BLEMISH_REFERENCE:-}" ]; then
    for dir in ../shared/reference shared/reference; do
        if [ -d "$dir/models" ]; then
            BLEMISH_REFERENCE=$(cd "$dir" && pwd)
            export BLEMISH_REFERENCE
            break
        fi
    done
fi
