/* blemish: training-free visual anomaly generation on any GPU. The public interface. Layer 0.
 *
 * Conventions. Functions return BL_OK or a negative bl_result; the reason in words is bl_last_error(), per thread. The library
 * never exits, aborts or prints. Handles are opaque; *_create leaves NULL on failure, *_destroy takes the handle's address,
 * accepts NULL and leaves NULL. Options structs start with struct_size, which the caller sets with the *_INIT macro; a field left
 * at 0 means its default. Strings are UTF-8. A handle is used by one thread at a time; different contexts are independent. */
#ifndef BLEMISH_H
#define BLEMISH_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define BL_API
#else
#define BL_API __attribute__((visibility("default")))
#endif

/* Options with struct_size set and every other field at 0. */
#ifdef __cplusplus
#define BL_OPTIONS_INIT(type) [] { type options = type(); options.struct_size = sizeof(type); return options; }()
#else
#define BL_OPTIONS_INIT(type) { .struct_size = sizeof(type) }
#endif

#define BL_VERSION_MAJOR 0
#define BL_VERSION_MINOR 1
#define BL_VERSION_PATCH 0

/* Negative; the absolute value is the exit code of the command line, except BL_ERROR_CANCELLED, which is 130. */
typedef enum bl_result {
    BL_OK = 0,
    BL_ERROR_OUTPUT = -1,    /* a result could not be written, or some items failed */
    BL_ERROR_USAGE = -2,     /* an argument or option breaks its documented range */
    BL_ERROR_INPUT = -3,     /* a photo, mask or prompt cannot be used */
    BL_ERROR_MODEL = -4,     /* a model file is missing, broken, or of the wrong kind */
    BL_ERROR_DEVICE = -5,    /* no such device, it lacks something needed, or it was lost */
    BL_ERROR_MEMORY = -6,    /* host or device memory ran out */
    BL_ERROR_MISMATCH = -7,  /* verification: a result differs from the expected one */
    BL_ERROR_CANCELLED = -8, /* the cancel callback said so */
} bl_result;

/* The version as "0.1.0". */
BL_API const char *bl_version(void);
/* The reason of the last failure on this thread; "" if none. Never NULL; valid until the next failure on this thread. */
BL_API const char *bl_last_error(void);
/* A short lower-case name: "ok", "usage", "input", ... Never NULL. */
BL_API const char *bl_result_name(bl_result r);

/* --- images ------------------------------------------------------------------------------------------------------- */

/* 8-bit pixels, rows top to bottom without padding, channels interleaved (1 grey, 3 RGB). */
typedef struct bl_image {
    uint32_t width, height, channels;
    uint8_t *pixels; /* width * height * channels bytes, owned */
} bl_image;

/* Reads a PNG or JPEG file as `channels` (1 or 3) channels; alpha is composited on white, and the picture is turned as its Exif
 * orientation says. Refuses with BL_ERROR_INPUT what is broken,
 * truncated or larger than 16384 on a side or 64 Mpixel. *image is zeroed on failure. */
BL_API bl_result bl_image_read(const char *path, uint32_t channels, bl_image *image);
/* Frees the pixels and zeroes *image; a zeroed image is accepted. */
BL_API void bl_image_free(bl_image *image);

typedef enum bl_pixel_format {
    BL_PIXEL_MONO8,
    BL_PIXEL_MONO16,         /* in the host's byte order */
    BL_PIXEL_RGB8,
    BL_PIXEL_BGR8,
} bl_pixel_format;
/* Pixels in memory of the caller's, as a camera gives them. */
typedef struct bl_frame {
    void *pixels;
    size_t size;             /* bytes that may be touched */
    size_t stride;           /* bytes from row to row; 0: rows follow each other */
    uint32_t width, height;
    bl_pixel_format format;
    uint32_t bits;           /* of MONO16: how many count, 9-16 from the lowest; 0: 16 */
} bl_frame;
/* A copy of a frame as an RGB picture; of 16 bits the eight highest that count are kept. *image is zeroed on failure, and freed by
 * bl_image_free. BL_ERROR_USAGE: rows that reach beyond the memory, an unknown format, a size outside the limits of bl_image_read;
 * BL_ERROR_INPUT: a pixel above `bits`. */
BL_API bl_result bl_image_from_frame(const bl_frame *frame, bl_image *image);
/* Writes a picture into a frame of its size: grey as MONO8, RGB as RGB8 or BGR8. Bytes between rows are left alone. */
BL_API bl_result bl_image_to_frame(const bl_image *image, const bl_frame *frame);

/* One text chunk of a PNG file; `key` is 1-79 Latin-1 characters, `text` UTF-8 without a 0 byte. */
typedef struct bl_image_text {
    const char *key, *text;
} bl_image_text;

/* Writes a PNG file with text chunks (iTXt), atomically: on failure (BL_ERROR_OUTPUT) an existing file is untouched. */
BL_API bl_result bl_image_write_png(const char *path, const bl_image *image, const bl_image_text *texts, size_t text_count);
/* The first text under `key` of a PNG file (iTXt, or tEXt turned into UTF-8), freed by bl_text_free; *text is NULL when there is none.
 * BL_ERROR_INPUT: not a PNG file, a broken chunk, a compressed text, one that is not UTF-8 or above 16 MiB. */
BL_API bl_result bl_image_read_text(const char *path, const char *key, char **text);
BL_API void bl_text_free(char *text); /* NULL is accepted */

typedef enum bl_filter { BL_FILTER_NEAREST, BL_FILTER_BILINEAR, BL_FILTER_BICUBIC, BL_FILTER_LANCZOS } bl_filter;
/* A resized copy, equal to Image.resize of Pillow 9.4 byte for byte. When a side shrinks, its filter widens by the same factor
 * (antialiasing), except for NEAREST. Bicubic has a = -0.5 (Catmull-Rom), Lanczos 3 lobes. *out is zeroed on failure, must not be `in`, and
 * is freed by the caller. BL_ERROR_USAGE: a picture or size outside the limits of bl_image_read; BL_ERROR_MEMORY. */
BL_API bl_result bl_image_resize(const bl_image *in, uint32_t width, uint32_t height, bl_filter filter, bl_image *out);

/* --- devices and contexts ------------------------------------------------------------------------------------------ */

typedef struct bl_device_info {
    uint32_t index;          /* position in this list; what --device takes */
    char name[256];          /* as the driver says */
    char uuid[37];           /* "6d657361-3236-..."; stable across boots */
    char type[16];           /* "discrete", "integrated", "virtual", "cpu", "other" */
    char driver[256];        /* driver name and version text; "" if the device does not say */
    char api[16];            /* Vulkan version, "1.3.280" */
    char caps[128];          /* capability bits it has, "s16,f16,sg,..."; "base" if none */
    uint64_t memory;         /* bytes of the largest device-local heap */
    uint64_t max_binding;    /* bytes: maxStorageBufferRange */
    uint64_t max_allocation; /* bytes: maxMemoryAllocationSize */
    uint32_t subgroup_size;  /* lanes; 0 if unknown */
    uint32_t max_invocations, max_shared; /* per workgroup: lanes, bytes */
    int usable;              /* 0: lacks something needed; `problem` says what */
    char problem[160];
} bl_device_info;

/* Lists the Vulkan devices. Writes at most `capacity` entries, sets *count to the number present. No devices at all is BL_OK with *count 0;
 * no Vulkan loader is BL_ERROR_DEVICE. */
BL_API bl_result bl_devices(bl_device_info *infos, uint32_t capacity, uint32_t *count);

/* All that may matter when something does not work, as one JSON object, freed by bl_text_free: "version", "loader" (found, version,
 * problem), "environment" (variables that drivers and blemish read), "cache" (dir, files with their bytes) and "devices", each with what
 * bl_devices says, its driver, memory (heap, and what is free for this process), limits, timestamps, "tiers" (name, there, needs),
 * "watchdog" (what resets a busy device there), "quirks" (what is known of the driver: text, link), "selftest" (how many pipelines are
 * known to be right) and "tuning" (whether bl_tune has kept a plan, and how many choices it has). Needs neither device nor loader; nothing
 * runs. `cache_dir`: as in bl_context_options. BL_ERROR_MEMORY. *json is NULL on failure. */
BL_API bl_result bl_doctor(const char *cache_dir, char **json);

typedef enum bl_log_level { BL_LOG_ERROR, BL_LOG_WARNING, BL_LOG_INFO, BL_LOG_DEBUG } bl_log_level;
typedef enum bl_precision { BL_PRECISION_AUTO, BL_PRECISION_F32, BL_PRECISION_F16 } bl_precision;

typedef struct bl_context_options {
    size_t struct_size;
    const char *device;      /* index, UUID or part of a name; NULL: the best GPU, a software device only if there is no other */
    /* Capabilities to use and limits to lower. "s16,sg": these only; "base": none, and the limits of the weakest devices;
     * "shared=16K,binding=64M": limits in bytes (also invocations, allocation), all capabilities; NULL: all the device has. */
    const char *caps;
    bl_precision precision;  /* storage of weights and activations; AUTO: f16 on a GPU that stores 16 bit, else f32 */
    const char *cache_dir;   /* pipeline cache; NULL: none is read or written */
    const void *cache_data;  /* the same from memory, as bl_context_pipeline_cache gave it, read during the call; of another device or
                                driver, or damaged: ignored. NULL: none */
    size_t cache_size;       /* bytes of it */
    uint64_t max_memory;     /* bytes of device memory held at most; 0: as much as the driver reports free for this process */
    /* Kernels are used once they have computed known answers on this device with this driver: see bl_selftest. What was right is kept in
     * cache_dir. A wrong one that needs an optional capability is left out, with a warning that names it; a wrong one that needs none is
     * BL_ERROR_DEVICE. 1: no such test. A processor is not tested unasked: it takes minutes there. */
    int no_selftest;
    /* Which kernels compute what: a plan as bl_context_plan gives it, or as a picture's parameters have it under "plan", "tuning", so that
     * it is made again as it was; read during the call. NULL: what bl_tune has kept in cache_dir for this device, its driver and these
     * kernels, if anything. What does not fit the device is left out. BL_ERROR_INPUT: it is none. */
    const char *plan;
    int no_tune;             /* 1, without a plan: kernels as their table has them, whatever bl_tune has kept */
    /* Called on the thread that called the library; `user` is passed through. Any may be NULL. */
    void (*log)(void *user, bl_log_level level, const char *text);
    void (*progress)(void *user, const char *stage, uint32_t done, uint32_t total);
    int (*cancel)(void *user); /* asked before every submission (some 100 ms); non-zero ends the call with BL_ERROR_CANCELLED */
    void *user;
} bl_context_options;
#define BL_CONTEXT_OPTIONS_INIT BL_OPTIONS_INIT(bl_context_options)

/* A device with its compiled kernels. */
typedef struct bl_context bl_context;
BL_API bl_result bl_context_create(const bl_context_options *options, bl_context **out);
BL_API void bl_context_destroy(bl_context **context);
/* What was compiled so far, for the cache_data of a later start, where a box has no folder to keep it; *data is freed by bl_data_free. */
BL_API bl_result bl_context_pipeline_cache(const bl_context *context, void **data, size_t *size);
BL_API void bl_data_free(void *data); /* NULL is accepted */
/* The device in use; valid while the context lives. */
BL_API const bl_device_info *bl_context_device(const bl_context *context);
/* The storage precision in use, "f32" or "f16", and the capabilities and lowered limits in use, as for --caps: "s16,sg,binding=64M". */
BL_API const char *bl_context_precision(const bl_context *context);
BL_API const char *bl_context_caps(const bl_context *context);
/* The plan in use as JSON, freed by bl_text_free: {"kernels": bl_kernel_version, "caps": bl_context_caps, "choices":
 * {"matmul_fwd f32 m=256,n=64,k=64": "matmul_fwd_direct", ...}}, by op, storage type and shape class. Without choices where nothing was
 * tuned. *json is NULL on failure: BL_ERROR_MEMORY. */
BL_API bl_result bl_context_plan(const bl_context *context, char **json);
/* Names of the kernel implementations that ran in the last generation or verification, one call each, in the order of the kernel table:
 * e.g. "matmul_fwd_direct_f32". */
BL_API void bl_context_kernels(const bl_context *context, void (*each)(void *user, const char *name), void *user);

/* --- models -------------------------------------------------------------------------------------------------------- */

/* A Stable Diffusion 1.x or 2.x checkpoint: a folder in diffusers layout (tokenizer/, text_encoder/, unet/, vae/, scheduler/; weights
 * whole, in shards, or the fp16 variant of them), or a single safetensors file with the original names. */
typedef struct bl_model bl_model;

/* Low-rank changes of the weights, added when they are loaded. */
typedef struct bl_lora {
    const char *path;        /* safetensors, with the names of kohya's scripts or of diffusers and PEFT */
    float scale;             /* any finite number; 0: 1 */
} bl_lora;
typedef struct bl_model_options {
    size_t struct_size;
    const char *tokenizer;   /* folder with vocab.json and merges.txt, which a single file needs; NULL: that of the checkpoint */
    /* Another autoencoder: its folder in diffusers layout, or a safetensors file. May be a tiny one (TAESD: in diffusers layout, or a
     * folder with taesd_encoder.safetensors and taesd_decoder.safetensors), for less memory and time at some loss of detail. NULL: that
     * of the checkpoint. */
    const char *vae;
    const char *preview_vae; /* a tiny one that draws previews, of which the decoder is enough; NULL: `vae` if it is tiny, else none */
    /* What the U-Net predicts: "epsilon" or "v", which shapes do not tell. NULL: as scheduler_config.json or a single file's metadata
     * (modelspec.prediction_type) says, else "epsilon". */
    const char *prediction;
    const bl_lora *loras;    /* all of them are added */
    size_t lora_count;
} bl_model_options;
#define BL_MODEL_OPTIONS_INIT BL_OPTIONS_INIT(bl_model_options)

/* Opens and checks the files; device memory is used when a network first runs. `options` NULL: none. BL_ERROR_MODEL says which file and
 * what; BL_ERROR_USAGE: options out of range, or a single file without a tokenizer. */
BL_API bl_result bl_model_open_with(bl_context *context, const char *path, const bl_model_options *options, bl_model **out);
/* The same without options. */
BL_API bl_result bl_model_open(bl_context *context, const char *path, bl_model **out);
BL_API void bl_model_close(bl_model **model);

/* Opens a CLIP model (a folder of Hugging Face's CLIPModel: ViT-L/14) for the image loss, in place of one opened before; closed with
 * the model. */
BL_API bl_result bl_model_open_clip(bl_model *model, const char *dir);

/* What a model file, a checkpoint's folder or a picture is, as one JSON object, freed by bl_text_free; needs no device. Members: "kind"
 * in words; of a file "bytes"; of a model "tensors" (count, parameters, bytes, types), "metadata", "use" (what can be done with it); of
 * a checkpoint "model" (what its networks are) and "weights" (parameters, and the device memory that they take in f16 and f32), or
 * "problem", why it cannot run; of a picture "width", "height", "text" (as the common tools write it) and "parameters" (blemish's own).
 * With `list` also "list", every tensor. BL_ERROR_MODEL, BL_ERROR_INPUT: it is of another format, which the reason names, or broken.
 * *json is NULL on failure. */
BL_API bl_result bl_inspect(const char *path, int list, char **json);

/* --- masks --------------------------------------------------------------------------------------------------------- */

typedef struct bl_mask_options {
    size_t struct_size;
    const char *shape;           /* "foreground", "ellipse", "freeform" (a stroke), "perlin" (noise) */
    float smallest, largest;     /* size as a share of the foreground, 0-1, kept to a tenth; 0: 0.05 and 0.25. Not for "foreground" */
    uint64_t seed;
} bl_mask_options;
#define BL_MASK_OPTIONS_INIT BL_OPTIONS_INIT(bl_mask_options)
/* Draws a mask for a photo (RGB): its foreground (Otsu's threshold, of either polarity: the background is what the border mostly is, small
 * holes closed), or a random shape inside it. Grey, 0 or 255, of the photo's size. The same on every machine.
 * BL_ERROR_INPUT: the photo has no foreground, or no room for the shape. The caller frees *mask. */
BL_API bl_result bl_mask_auto(const bl_image *photo, const bl_mask_options *options, bl_image *mask);

/* --- generation ---------------------------------------------------------------------------------------------------- */

typedef struct bl_generate_options {
    size_t struct_size;
    const char *prompt;          /* at most 75 tokens, else BL_ERROR_INPUT. "a photo of a [[cracked]] hazelnut": the whole words in marks
                                    are guided, at most 16 tokens of them; \[[ and \]] are mere brackets. NULL: of object and defect */
    const char *negative_prompt; /* NULL: "" */
    const bl_image *photo;       /* RGB, any size: image-to-image; NULL: text-to-image */
    const bl_image *mask;        /* grey, any size, with a photo only: where not 0, the picture may change; NULL: as mask_shape says */
    /* The mask to draw on the photo, by the seed: a shape of bl_mask_auto, or "none": the picture may change everywhere. NULL:
     * "foreground", or everywhere if it has none, with guided words and a method other than "anomalyany"; else "none". */
    const char *mask_shape;
    float mask_smallest, mask_largest; /* as in bl_mask_options */
    /* Which part of the photo is generated; the result goes back into the photo and has its size. "auto": around the mask, with half its
     * size of surroundings, at least as many pixels as are generated; without a mask the largest centred part of the shape width:height.
     * "x,y,width,height" in pixels of the photo: the largest centred part of that with that shape. "none": the result is what was
     * generated, of the largest centred part. NULL: "auto". */
    const char *crop;
    uint32_t width, height;      /* pixels, 64-2048, divisible through all levels (by 64 for Stable Diffusion); 0: the model's own size */
    uint32_t steps;              /* 1-1000; 0: 50 */
    float strength;              /* 0 < s <= 1: share of the steps run from the photo; 0: 0.5. Ignored without a photo */
    float guidance;              /* classifier-free guidance scale, 1-100; 1 turns it off; 0: 7.5 */
    uint64_t seed;               /* every 64-bit value is a seed */
    const char *rng;             /* where noise comes from: "philox", the same numbers on every device; "torch-cpu", "torch-cuda":
                                    those that torch.randn makes of the seed there, in the order of the diffusers pipelines, within 2e-6
                                    (torch-cpu looks at the lower 32 bits of the seed; torch-cuda up to 768x768 pixels). Masks and the
                                    blending of "anomalyany" are philox always. NULL: "philox" */
    const char *scheduler;       /* "ddim", "pndm" (the correct start), "pndm-diffusers" (as diffusers starts it in mid-table), "euler",
                                    "euler-a" (ancestral), "dpm++2m", "lcm" (for models distilled for it: 4 to 8 steps, guidance 1 to 2);
                                    NULL: "ddim" with method "cut", else what scheduler_config.json says */
    int karras;                  /* "euler", "dpm++2m": Karras sigmas; 0: what scheduler_config.json says */
    const char *spacing;         /* timesteps: "leading", "trailing", "linspace"; NULL: what scheduler_config.json says */

    /* How the defect is made. "cut": mask-guided attention optimization; "anomalyany": the authors' published code, step for step;
     * "attend": no gradient, the attention to the words is raised inside the mask; "sd": plain image-to-image, blended outside the mask.
     * NULL: "cut" with a photo and guided words, else "sd". All but "sd" need guided words and a photo. */
    const char *method;
    const char *object, *defect; /* "hazelnut", "damaged": the prompt is made of them, and the defect is guided, or only the
                                    words in marks in it */
    const char *template_text;   /* with {object} and {defect}; NULL: "a photo of a {object} that is {defect}" */
    const char *normal_prompt;   /* of the photo without a defect; NULL: "a photo of a {object}", or the prompt less its guided words */
    const char *detail;          /* a longer description of the defect; the embedding moves towards it. NULL: none */
    uint32_t attention_res;      /* grid of the attention maps, larger side in cells; 0: max(16, latents / 4), or the nearest there is */
    uint32_t guided_first, guided_last; /* steps that are guided, counted from 1; 0: the first, the last */
    uint32_t inner;              /* "cut": updates in each guided step, 1-100; 0: 1 */
    float lambda;                /* "cut": step size alpha_t = lambda (1 + growth tau) n_t / n_start, above 0; 0: 10. "anomalyany": of the
                                    strong update; 0: 20 */
    float growth;                /* "cut": how much larger the first step is, tau falls from 1 to 0; 0: 1; negative: none */
    int words_mean;              /* several guided tokens: 0: the worst of them counts, else their mean */
    float prompt_rate;           /* "cut": share of the way to `detail` in each guided step, 0-1; 0: 0.1; negative: none */
    float image_weight, image_share; /* "cut" with CLIP: weight of the image loss; the last share of the steps has it; 0: 1, 0.3 */
    float gain;                  /* "attend": added to the attention logits of the guided words inside the mask; 0: 3 */
    const char *odd_off;         /* "anomalyany": oddities of the published code to leave out, of
                                    "scheduler,maps,blend,prompt,gate", or "all" */
    int no_change_mask;          /* leave out the defect-free picture that the mask of what changed needs */
    int whole_picture;           /* the picture as the autoencoder drew it. Else, with a photo, pixels outside the mask of what changed
                                    (without that, the region) are the photo's, feathered over one cell of the latents */
    /* Called after every step with an approximate picture, valid during the call: of the picture's size where there is a tiny autoencoder
     * (preview_vae), else of the latents' size, by a linear map. May be NULL. */
    void (*preview)(void *user, uint32_t step, uint32_t steps, const bl_image *picture);
    void *preview_user;
} bl_generate_options;
#define BL_GENERATE_OPTIONS_INIT BL_OPTIONS_INIT(bl_generate_options)

/* Device memory of one generation, stage by stage, in bytes. */
typedef struct bl_memory_stage {
    char name[16];           /* "text", "encode" (with a photo), "unet", "guide", "both", "prompt", "image", "preview", "decode" */
    uint64_t weights;        /* of its network, still to be loaded when it starts */
    uint64_t activations;    /* everything else it needs; freed when it ends */
    uint64_t held;           /* in all while it runs, weights of earlier stages and the staging buffer included */
    uint32_t dispatches;     /* of its graph, parts of operands larger than a binding counted; 0 when it was only planned */
} bl_memory_stage;
typedef struct bl_memory_plan {
    bl_memory_stage stages[16];
    uint32_t stage_count;
    uint64_t peak;           /* the largest `held` */
    uint64_t limit;          /* max_memory of the context, or less where the driver reports less */
    int fits;                /* peak <= limit */
    int evicts;              /* it fits only if weights of earlier stages are dropped, and loaded again for the next picture */
} bl_memory_plan;
/* What bl_generate would need, from the shapes alone: nothing is loaded and nothing runs. The peak is kept: bl_generate holds no more, and
 * refuses with BL_ERROR_MEMORY before it loads anything of a stage that does not fit. BL_OK also when it does not fit. */
BL_API bl_result bl_generate_plan(bl_model *model, const bl_generate_options *options, bl_memory_plan *plan);

/* One update of the latents, or (kind "measured") an evaluation alone. */
typedef struct bl_trace_step {
    uint32_t step, inner;    /* from 1; update within the step, from 1 */
    int measured;            /* 1: nothing was changed, the loss is that after the updates */
    float timestep;          /* 0-999 */
    float attention_loss;    /* 1 - the largest value of the words' smoothed maps inside the mask */
    float image_loss;        /* of CLIP, or NAN */
    uint32_t n;              /* cells of the map above its mean */
    uint32_t x, y;           /* cell of its peak */
    float gradient_norm, alpha; /* of the latents; step size */
    float seconds;
} bl_trace_step;

typedef struct bl_generate_result {
    bl_image image;          /* RGB; freed by bl_generate_result_free */
    bl_image mask;           /* grey, 0 or 255, of the image's size: what changed against the defect-free picture; no pixels without one */
    bl_image region;         /* grey, 0 or 255, of the image's size: where it might change, given or drawn; no pixels: everywhere */
    bl_image attention;      /* RGB: the words' attention over the image; no pixels without guided words */
    bl_image photo;          /* RGB: the photo; with crop "none" cut to the image's shape and resized to it; no pixels without one */
    bl_trace_step *trace;    /* owned */
    uint32_t trace_count;
    uint32_t forwards, backwards, decodes; /* of the U-Net for one prompt each, whole or in part; of the autoencoder's decoder */
    double gflop, plain_gflop; /* arithmetic spent, and that of the sampler's loop alone with its decoding */
    char *parameters;        /* one JSON object: everything needed to make it again; owned */
    char *parameters_text;   /* the same in the "parameters" text form the common tools write; owned */
    uint32_t steps_run;      /* evaluations of the U-Net */
    double seconds;          /* wall time of the whole call */
    uint64_t device_bytes;   /* device memory held at the peak */
    bl_memory_plan memory;   /* the plan it kept to */
} bl_generate_result;
/* Makes one picture. *result is zeroed on failure. */
BL_API bl_result bl_generate(bl_model *model, const bl_generate_options *options, bl_generate_result *result);
BL_API void bl_generate_result_free(bl_generate_result *result);

/* --- words --------------------------------------------------------------------------------------------------------- */

typedef struct bl_token {
    int32_t id;
    int guided;          /* 1: of a marked word, or of the defect */
    char text[128];      /* the vocabulary entry, "hazelnut</w>" */
} bl_token;
typedef struct bl_tokens {
    char *prompt;        /* what the text encoder sees, without marks; owned */
    bl_token *tokens;    /* [count], with start and end token, without padding; owned */
    uint32_t count;
    uint32_t limit;      /* tokens that the text encoder takes, start and end included; count may be larger */
} bl_tokens;
/* Splits the prompt of these options (prompt, or object, defect and template_text; the rest is not read) as the checkpoint's own tokenizer
 * does. Needs no device. `dir`: a checkpoint or its tokenizer folder. BL_ERROR_INPUT: not UTF-8, longer than 64 KiB, or marks that are
 * wrong. *out is zeroed on failure, and freed by bl_tokens_free. */
BL_API bl_result bl_tokenize(const char *dir, const bl_generate_options *options, bl_tokens *out);
BL_API void bl_tokens_free(bl_tokens *tokens);

/* --- verification -------------------------------------------------------------------------------------------------- */

typedef enum bl_verdict { BL_PASS, BL_FAIL, BL_SKIP } bl_verdict;
typedef struct bl_verify_row {
    const char *file, *stage, *tensor;
    bl_verdict verdict;
    double max_error, rms_error, allowed; /* largest difference; relative RMS; the bound on the latter */
    const char *note;                     /* why it was skipped, or what went wrong; "" otherwise */
} bl_verify_row;

typedef struct bl_verify_options {
    size_t struct_size;
    const char *model_dir;   /* folder or file of bl_model_open; NULL: only files that need none */
    const bl_model_options *model; /* NULL: none */
    const char *clip_dir;    /* CLIP model; NULL: its stages are skipped */
    const char *const *files;/* golden .safetensors files */
    size_t file_count;
    int strict;              /* a skipped tensor is a failure */
    void (*row)(void *user, const bl_verify_row *row); /* valid during the call */
    void *user;
} bl_verify_options;
#define BL_VERIFY_OPTIONS_INIT BL_OPTIONS_INIT(bl_verify_options)

typedef struct bl_verify_summary {
    uint32_t passed, failed, skipped;
    char first_failure[256]; /* "file: stage: tensor", or "" */
} bl_verify_summary;
/* Runs every stage for which the files hold inputs and compares with what they expect. BL_ERROR_MISMATCH when a tensor differs, when
 * nothing could be compared, or under `strict` when something was skipped. */
BL_API bl_result bl_verify(bl_context *context, const bl_verify_options *options, bl_verify_summary *summary);

/* --- measuring ----------------------------------------------------------------------------------------------------- */

/* One measurement. Times are nanoseconds; texts are never NULL, and "" where they do not apply. */
typedef struct bl_bench_row {
    const char *kind;        /* "peak", "shader", "model" */
    const char *name;        /* "fma_f32", "matmul_fwd_direct_f32_query_64x64", "unet" */
    const char *op, *kernel, *type; /* of a shader: "matmul_fwd", "matmul_fwd_direct", "f32" */
    const char *shape;       /* of a shader: its parameters, "m=4096,n=320,k=320,..."; of a network "512x512", width and height */
    bl_verdict verdict;      /* BL_SKIP: it does not run here; BL_FAIL: its result is wrong. In both cases nothing was timed */
    const char *note;        /* why, in words */
    const char *checked;     /* of a shader: what of its result was compared with the reference: "all", "parts" of it, or the name of a
                                smaller case, where the reference would take too long */
    uint32_t runs;           /* timed; 0: none */
    uint32_t rounds;         /* in which they were, apart in time: nine, or as many as the time limit has room for; of a network every run
                                is one */
    int wall;                /* times are wall times from submission to completion, because the queue has no timestamps */
    double median, p10, p90; /* of one run, with what it reads in the caches as far as it fits: medians of those of the rounds */
    double low, high;        /* medians of rounds: the least, and the largest without the slowest quarter, which is what else happened */
    double noise;            /* standard error of the median from those of the rounds, as a share of it; 1: of a single run */
    double cold;             /* median after the caches were emptied; 0: not measured */
    double launch;           /* an empty dispatch and its barrier; 0: not measured */
    double compile;          /* making the pipeline and its first dispatch, of one workgroup; 0: not measured */
    double work, bytes;      /* of one run: floating-point operations (a multiply-add counts two); bytes read and written, each once */
    double rate;             /* of a peak: units of `unit` per second; 0 of times */
    const char *unit;        /* of a peak: "FLOP", "OP" (integer operations), "B", "s" (the median is the measurement) */
    double share;            /* of a shader: how much of the roof it reaches, 0-1, or above in caches; "peak" rows are the roof */
    const char *bound;       /* by what: "compute", "memory", "cache" (faster than memory can be), "launch" (half is an empty one) */
    double probe;            /* what one turn of a kernel that never changes took right after this row; 0: not measured */
    double drift;            /* how much slower than at the start that was, as a share */
    double registers, spills, instructions, subgroup, occupancy; /* as the driver says; negative: it does not */
    const char *statistics;  /* all that the driver says: "VGPRs=64;Code size=5124" */
    double setup;            /* of a network: loading, planning, recording */
    double forward;          /* of a network with a gradient: what of `work` comes before it; 0: there is none */
    uint64_t weights;        /* of a network: bytes of its weights on the device */
    uint64_t device_bytes;   /* of a network: device memory held at most */
} bl_bench_row;

typedef struct bl_bench_options {
    size_t struct_size;
    /* Rows to measure: a pattern for names of rows, kernels or ops, with * ? [..]: "matmul_fwd", "conv_*_f16_*". NULL: all */
    const char *pattern;
    /* Of shaders: a problem in place of the usual ones, by names of the op's parameters (shaders/inc/params.h), which is measured in all
     * matching ops that have them; others are as in the op's first usual case: "m=4096,n=320,k=320". NULL: the usual ones */
    const char *shape;
    float time_limit;        /* seconds of each row, of all its rounds, after which no further run begins; 0: 1 */
    float noise;             /* a row is known well enough at this noise; 0: 0.005 */
    uint32_t width, height;  /* of networks: pixels of the picture, 64-2048, multiples as the model needs them; 0: the model's own */
    int list;                /* only tell which rows there are: nothing is measured */
    void (*row)(void *user, const bl_bench_row *row); /* valid during the call; must not be NULL */
    void *user;
} bl_bench_options;
#define BL_BENCH_OPTIONS_INIT BL_OPTIONS_INIT(bl_bench_options)

/* What the device can do at most: arithmetic, integer dot products, matrix products of every shape that it has, copying, shared memory,
 * an empty dispatch, an empty submission. BL_ERROR_USAGE: options out of range, or the pattern matches nothing. */
BL_API bl_result bl_bench_peak(bl_context *context, const bl_bench_options *options);
/* Every kernel in every storage type, at the shapes of Stable Diffusion or at one given: checked against the double-precision reference,
 * then timed. Begins with the peaks that its shares refer to. Kernels that do not run here are rows too. BL_ERROR_MISMATCH: a result was
 * wrong, the others have been measured; BL_ERROR_USAGE as above, or no matching op has the parameters of the shape. */
BL_API bl_result bl_bench_shader(bl_context *context, const bl_bench_options *options);
/* The networks of a model, one row each: "text", "unet" (one evaluation), "step" (of the sampler, with guidance: the U-Net for two
 * prompts), "guide" (as far as the attention loss, and its gradient), "encode", "decode", with a CLIP model "image" (its loss and
 * gradient), and "load" (the U-Net's weights to the device); of every one the time of a run, what it takes until it can run, and the
 * device memory. "picture" and "guided" are sums: an image-to-image picture of 25 steps, and the same with "guide" in each. Memory is
 * planned first; what does not fit is not loaded. Weights stay where there is room. BL_ERROR_MODEL: a result is not finite, or flat;
 * BL_ERROR_MEMORY: a network does not fit, the others have been measured; BL_ERROR_USAGE as above. */
BL_API bl_result bl_bench_model(bl_model *model, const bl_bench_options *options);
/* The same of networks with random weights, which need no files: "sd15" or "sd21" (Stable Diffusion 1.5, and 2.1 for 768 pixels, with
 * CLIP ViT-L/14), "demo" (the model that comes with blemish). BL_ERROR_USAGE: other shapes. */
BL_API bl_result bl_bench_random(bl_context *context, const char *shapes, const bl_bench_options *options);
/* Which kernels these are: SHA-256 of all sources of shaders, in hexadecimal. */
BL_API const char *bl_kernel_version(void);

/* A shape class: problems of one op and storage type whose sizes agree once they are rounded up to powers of two. */
typedef struct bl_tune_row {
    const char *op, *type;   /* "matmul_fwd", "f32" */
    const char *shape;       /* "m=256,n=64,k=64" */
    const char *standard;    /* the kernel that the table has for it */
    const char *chosen;      /* the one that it is computed with from now on; the same one where none is faster */
    uint32_t tried;          /* kernels that were timed; 0: none, and `note` says why */
    double before, after;    /* nanoseconds of both, the medians of five rounds; 0 where none is faster */
    const char *note;        /* "" if there is nothing to say */
} bl_tune_row;

typedef struct bl_tune_options {
    size_t struct_size;
    bl_model *model;         /* of the same context: what a picture with guided words from a photo needs, at `size`. NULL: the shapes of
                                Stable Diffusion 1.5 and 2.1 and of the demo model that bl_bench_shader has */
    uint32_t size;           /* pixels of a side; 0: the model's own */
    const char *pattern;     /* only ops and kernels of such names: "conv_*"; NULL: all */
    float time_limit;        /* seconds for each kernel and problem; 0: 0.25 */
    void (*row)(void *user, const bl_tune_row *row); /* for every shape class that has a choice; valid during the call. May be NULL */
    void *user;
} bl_tune_options;
#define BL_TUNE_OPTIONS_INIT BL_OPTIONS_INIT(bl_tune_options)

/* Times the kernels that can compute a problem on this device, once they have computed it rightly, and takes another one than the table's
 * where it is faster by more than 5 % in each of five rounds. What was found is added to the context's plan, is in use from then on, and
 * is kept in its cache_dir; so is, when it fails or is cancelled, what was found until then. BL_ERROR_USAGE: options out of range, or the
 * pattern matches nothing. BL_ERROR_OUTPUT: it cannot be kept. */
BL_API bl_result bl_tune(bl_context *context, const bl_tune_options *options);

/* --- self-test ----------------------------------------------------------------------------------------------------- */

typedef struct bl_selftest_row {
    const char *kernel;      /* implementation and storage: "matmul_fwd_staged_f16" */
    const char *tier;        /* the capabilities it needs: "s16,tall"; "base" for none */
    uint32_t cases;          /* problems that it has computed */
    bl_verdict verdict;      /* BL_PASS or BL_FAIL */
    double used;             /* its largest error as a share of what is allowed; 0 when it did not run */
    const char *note;        /* where it is wrong; "" otherwise */
} bl_selftest_row;

typedef struct bl_selftest_options {
    size_t struct_size;
    const char *pattern;     /* only kernels whose name matches: "conv_*_f16"; NULL: all that the device runs */
    void (*row)(void *user, const bl_selftest_row *row); /* for every kernel; valid during the call. May be NULL */
    void *user;
} bl_selftest_options;
#define BL_SELFTEST_OPTIONS_INIT BL_OPTIONS_INIT(bl_selftest_options)

typedef struct bl_selftest_summary {
    uint32_t passed, failed; /* kernels */
    char first_failure[96];  /* its name, or "" */
} bl_selftest_summary;
/* Compares every kernel that the device can run with double-precision references, on small problems: odd sizes, long sums, sums beyond
 * the range of fp16. The generator does so by itself, for the kernels that it uses and once for a device and a driver; this is for all of
 * them, and whatever is known. What was right is kept in the context's cache_dir. BL_ERROR_MISMATCH when one is wrong; BL_ERROR_USAGE when
 * none matches. */
BL_API bl_result bl_selftest(bl_context *context, const bl_selftest_options *options, bl_selftest_summary *summary);

#ifdef __cplusplus
}
#endif
#endif
