/* The command line: the built program is run, and its exit code, both streams and the files it leaves are looked at. */
#include "cli_runner.h"

/* --- refused ------------------------------------------------------------------------------------------------------------ */

#define MODEL "--model", "nowhere"
#define PROMPT "--prompt", "a nut"
#define GENERATE "generate", MODEL, PROMPT
#define NUT "generate", MODEL, "--object", "nut", "--defect", "bad"
#define SMALL PROMPT, "--width", "64", "--height", "64"

static void test_refused(void **state)
{
    (void)state;
    static const struct { const char *args[14]; const char *reason; } cases[] = {
        { { NULL }, "Usage: blemish COMMAND" },
        { { "paint" }, "unknown command \"paint\"" },
        { { "" }, "unknown command \"\"" },
        { { "gen\x1b[31m" }, "unknown command \"gen?[31m\"" }, /* no escape sequence reaches the terminal */
        { { "help", "paint" }, "unknown command \"paint\"" },
        { { "help", "generate", "tokens" }, "takes one COMMAND" },
        { { "--bogus" }, "unknown command \"--bogus\"" },
        { { "version", "now" }, "blemish version: takes options only, not \"now\"" },
        { { "devices", "--jso=1" }, "--json takes no value" },

        { { "generate" }, "blemish generate: --model MODEL is missing (or set BLEMISH_MODEL)" },
        { { "generate", MODEL }, "--prompt TEXT is missing" },
        { { "generate", MODEL, "--prompt", "" }, "--prompt: is empty" },
        { { "generate", "--model", "", PROMPT }, "--model: is empty" },
        { { "generate", "--model", "-", PROMPT }, "--model: needs a name" },
        { { "generate", MODEL, "--prompt", "a", "nut" }, "takes options only, not \"nut\" (quote" },
        { { GENERATE, "--bogus" }, "unknown option --bogus" },
        { { GENERATE, "--bogus=7" }, "unknown option --bogus=7" },
        { { GENERATE, "-z" }, "unknown option -z" },
        { { GENERATE, "--max-memory", "much" }, "--max-memory: must be a size in bytes such as 3G, 1.5G or 500M, not \"much\"" },
        { { GENERATE, "--max-memory", "0" }, "must be a size" },
        { { GENERATE, "--max-memory", "-1G" }, "must be a size" },
        { { GENERATE, "--max-memory", "3GB" }, "must be a size" },
        { { GENERATE, "--max-memory", "99999999999G" }, "must be a size" },
        { { GENERATE, "--st", "3" }, "--st may mean any of --strength, --steps" },
        { { GENERATE, "--steps" }, "--steps needs a value: --steps N" },
        { { GENERATE, "--steps", "--force" }, "--steps needs a value, and --force is an option" },
        { { GENERATE, "-s" }, "--seed needs a value" },
        { { GENERATE, "--force=yes" }, "--force takes no value" },
        { { GENERATE, "--seed", "1", "--seed", "2" }, "--seed is given twice, as \"1\" and as \"2\"" },
        { { GENERATE, "--prompt", "a bolt" }, "--prompt is given twice" },

        { { GENERATE, "--steps", "4294967296" }, "--steps: must be a whole number, 1 to 1000, not \"4294967296\"" },
        { { GENERATE, "--steps", "4294967297" }, "--steps: must be" }, /* 1 modulo 2^32 */
        { { GENERATE, "--steps", "18446744073709551617" }, "--steps: must be" },
        { { GENERATE, "--steps", "0" }, "--steps: must be" },
        { { GENERATE, "--steps", "1001" }, "--steps: must be" },
        { { GENERATE, "--steps", "-1" }, "--steps: must be" },
        { { GENERATE, "--steps", "-0" }, "--steps: must be" },
        { { GENERATE, "--steps", "+5" }, "--steps: must be" },
        { { GENERATE, "--steps", " 5" }, "--steps: must be" },
        { { GENERATE, "--steps", "5 " }, "--steps: must be" },
        { { GENERATE, "--steps", "0x" }, "--steps: must be" },
        { { GENERATE, "--steps", "0x10" }, "--steps: must be" },
        { { GENERATE, "--steps", "5.0" }, "--steps: must be" },
        { { GENERATE, "--steps", "" }, "--steps: must be" },
        { { GENERATE, "--steps", "1e9999" }, "--steps: must be" },
        { { GENERATE, "--count", "0" }, "--count: must be a whole number, 1 to 9999" },
        { { GENERATE, "--width", "63" }, "--width: must be a whole number, 64 to 2048, a multiple of 8, not \"63\"" },
        { { GENERATE, "--width", "65" }, "--width: must be" },
        { { GENERATE, "--height", "2056" }, "--height: must be" },
        { { GENERATE, "--guidance", "1e9999" }, "--guidance: must be a number, 1 to 100, not \"1e9999\"" },
        { { GENERATE, "--guidance", "0.99" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "100.5" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "-0" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "nan" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "inf" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "0x" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "0x8" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "" }, "--guidance: must be" },
        { { GENERATE, "--guidance", " 5" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "7,5" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "5e" }, "--guidance: must be" },
        { { GENERATE, "--guidance", "." }, "--guidance: must be" },
        { { GENERATE, "--photo", "p.png", "--strength", "0" }, "--strength: must be a number, above 0, at most 1, not \"0\"" },
        { { GENERATE, "--photo", "p.png", "--strength", "1e-60" }, "--strength: must be" }, /* 0 as a float */
        { { GENERATE, "--photo", "p.png", "--strength", "1.01" }, "--strength: must be" },
        { { GENERATE, "--seed", "18446744073709551616" }, "--seed: must be a whole number below 2^64, or \"random\"" },
        { { GENERATE, "--seed", "-1" }, "--seed: must be" },
        { { GENERATE, "--seed", "" }, "--seed: must be" },
        { { GENERATE, "--seed", "Random" }, "--seed: must be" },
        { { GENERATE, "--seed", "18446744073709551615", "--count", "2" }, "--count: the seed of picture 2 would be above 2^64 - 1" },
        { { GENERATE, "--precision", "f64" }, "--precision: must be one of auto, f32, f16, not \"f64\"" },
        { { GENERATE, "--precision", "auto|f32" }, "--precision: must be one of" },
        { { GENERATE, "--scheduler", "" }, "--scheduler: must be one of ddim, pndm, pndm-diffusers, euler, euler-a, dpm++2m, lcm" },
        { { GENERATE, "--scheduler", "heun" }, "--scheduler: must be one of" },
        { { GENERATE, "--rng", "cuda" }, "--rng: must be one of philox, torch-cuda, torch-cpu" },
        { { GENERATE, "--spacing", "even" }, "--spacing: must be one of leading, trailing, linspace" },

        { { GENERATE, "--mask", "m.png" }, "--mask makes sense only with --photo" },
        { { GENERATE, "--save-region" }, "--save-region makes sense only with --photo" },
        { { GENERATE, "--save-photo" }, "--save-photo makes sense only with --photo" },
        { { GENERATE, "--clip", "c" }, "--clip makes sense only with --photo" },
        { { "generate", MODEL, "--object", "nut" }, "--object makes sense only with --defect" },
        { { "generate", MODEL, "--defect", "bad" }, "--defect makes sense only with --object" },
        { { GENERATE, "--object", "nut", "--defect", "bad" }, "--object and --prompt contradict each other" },
        { { GENERATE, "--template", "{defect}" }, "--template makes sense only with --object" },
        { { GENERATE, "--photo", "p.png", "--save-attention" }, "--save-attention makes sense only with --photo and guided words" },
        { { GENERATE, "--photo", "p.png", "--clip", "c" }, "--clip makes sense only with --photo and guided words" },
        { { GENERATE, "--photo", "p.png", "--normal", "n" }, "--normal makes sense only with --photo and guided words" },
        { { GENERATE, "--detail", "d" }, "--detail makes sense only with --photo and guided words" },
        { { "generate", MODEL, "-p", "a [[nut]]", "--plot", "p.png" }, "--plot makes sense only with --photo and guided words" },
        { { NUT, "--photo", "p.png", "--plot", "plot.jpg" }, "\"plot.jpg\" must end in .png" },
        { { GENERATE, "--method", "paint" }, "--method: must be one of cut, anomalyany, attend, sd" },
        { { GENERATE, "--photo", "p.png", "--mask", "auto", "--mask-shape", "star" }, "--mask-shape: must be one of ellipse, freeform" },
        { { GENERATE, "--mask-shape", "perlin" }, "--mask-shape makes sense only with --mask" },
        { { GENERATE, "--mask-size", "0.1-" }, "--mask-size: must be two numbers MIN-MAX, above 0, at most 1, not \"0.1-\"" },
        { { GENERATE, "--mask-size", "-0.1" }, "--mask-size: must be" },
        { { GENERATE, "--mask-size", "0.2-0.1" }, "--mask-size: must be" },
        { { GENERATE, "--mask-size", "0-0.1" }, "--mask-size: must be" },
        { { GENERATE, "--mask-size", "0.1-1.5" }, "--mask-size: must be" },
        { { GENERATE, "--mask-size", "0.1-0.2-0.3" }, "--mask-size: must be" },
        { { GENERATE, "--mask-size", "1e-3" }, "--mask-size: must be" },
        { { GENERATE, "--mask-size", "" }, "--mask-size: must be" },
        { { GENERATE, "--guided-first", "3", "--guided-last", "2" }, "--guided-first is 3, after --guided-last, 2" },
        { { GENERATE, "--guided-first", "0" }, "--guided-first: must be a whole number, 1 to 1000" },
        { { GENERATE, "--inner", "101" }, "--inner: must be a whole number, 1 to 100" },
        { { GENERATE, "--lambda", "-1" }, "--lambda: must be a number" },
        { { GENERATE, "--prompt-rate", "1.1" }, "--prompt-rate: must be a number, 0 to 1" },
        { { GENERATE, "--strength", "0.5" }, "--strength makes sense only with --photo" },
        { { GENERATE, "--no-cache", "--cache-dir", "c" }, "--no-cache and --cache-dir contradict each other" },
        { { GENERATE, "-v", "-q" }, "--verbose and --quiet contradict each other" },
        { { GENERATE, "--out", "nut.jpg" }, "--out: \"nut.jpg\" must end in .png" },
        { { GENERATE, "--out", ".png" }, "--out: \".png\" must end in .png" },
        { { GENERATE, "--out", "-" }, "--out: needs a name" },
        { { "generate", MODEL, "--prompt", "n\xfct" }, "argument 4 is not valid UTF-8" },
        { { "generate", MODEL, "--prompt", "\xed\xa0\x80" }, "argument 4 is not valid UTF-8" }, /* surrogate */
        { { "generate", MODEL, "--prompt", "\xc0\xaf" }, "argument 4 is not valid UTF-8" },     /* overlong */
        { { GENERATE, "-\xff" }, "argument 5 is not valid UTF-8" },

        { { "tokens", "a nut" }, "--model DIR or --tokenizer DIR is missing" },
        { { "tokens", MODEL }, "PROMPT is missing, or --object and --defect" },
        { { "tokens", MODEL, "a nut", "--object", "nut", "--defect", "bad" }, "takes a PROMPT, or --object and --defect, not both" },
        { { "tokens", MODEL, "--defect", "bad" }, "--defect makes sense only with --object" },
        { { "tokens", MODEL, "a", "nut" }, "takes one PROMPT, and \"nut\" is one more" },
        { { "tokens", MODEL, "--tokenizer", "t", "a" }, "--tokenizer and --model contradict each other" },
        { { "verify", MODEL }, "FILE is missing" },
        { { "verify", MODEL, "--precision", "f8", "x.safetensors" }, "--precision: must be one of" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *args[ARGS_MAX + 1] = { 0 };
        memcpy(args, cases[i].args, sizeof(cases[i].args));
        const int code = run(args);
        if (code != 2)
            fail_msg("case %zu (%s): exit code %d", i, cases[i].reason, code);
        assert_says(err_path, cases[i].reason);
        assert_empty(out_path);
        assert_int_equal(files_here(), 0);
    }
}

static void test_environment(void **state)
{
    (void)state;
    setenv("BLEMISH_MODEL", "-", 1);
    assert_int_equal(RUN("generate", PROMPT), 2);
    assert_says(err_path, "BLEMISH_MODEL: needs a name");
    assert_int_equal(RUN("generate", PROMPT, MODEL, "--out", "a.jpg"), 2); /* the option is stronger */
    assert_says(err_path, "--out: \"a.jpg\"");
    setenv("BLEMISH_MODEL", "n\xfct", 1);
    assert_int_equal(RUN("generate", PROMPT), 2);
    assert_says(err_path, "BLEMISH_MODEL: is not valid UTF-8");
    setenv("BLEMISH_MODEL", "", 1);
    assert_int_equal(RUN("generate", PROMPT), 2);
    assert_says(err_path, "--model MODEL is missing");
    unsetenv("BLEMISH_MODEL");
    assert_int_equal(files_here(), 0);
}

/* What can be said before a device is looked for. */
static void test_files_refused(void **state)
{
    (void)state;
    assert_int_equal(RUN(GENERATE, "--out", "no/where.png"), 1);
    assert_says(err_path, "no/where.png: the folder \"no\": No such file");
    assert_int_equal(RUN(GENERATE, "--photo", "p.png"), 3);
    assert_says(err_path, "p.png");
    assert_int_equal(files_here(), 0);

    const bl_image photo = { .width = 64, .height = 64, .channels = 3, .pixels = calloc(3, 64 * 64) };
    assert_int_equal(bl_image_write_png("p.png", &photo, NULL, 0), BL_OK);
    free(photo.pixels);
    assert_int_equal(RUN(GENERATE, "--out", "p.png"), 1);
    assert_says(err_path, "p.png: exists already (--force replaces it)");
    assert_int_equal(RUN(GENERATE, "--photo", "p.png", "--out", "./p.png", "--force"), 2);
    assert_says(err_path, "./p.png: is also what is read");
    assert_int_equal(RUN(GENERATE, "--photo", "p.png", "--mask", "m.png"), 3);
    assert_says(err_path, "m.png");
    assert_int_equal(RUN(GENERATE, "--out", "p.png/x.png"), 1);
    assert_says(err_path, "\"p.png\" is not a folder");
    /* the files beside the picture are as safe as the picture */
    static const char *const extra[][2] = { { "x_mask.png", NULL }, { "x_region.png", "--save-region" },
                                            { "x_attention.png", "--save-attention" }, { "x_photo.png", "--save-photo" } };
    for (size_t i = 0; i < COUNT(extra); i++) {
        assert_int_equal(rename("p.png", extra[i][0]), 0);
        assert_int_equal(RUN(NUT, "--photo", extra[i][0], "-o", "x.png", extra[i][1]), 2);
        assert_says(err_path, ": is also what is read");
        assert_int_equal(RUN(NUT, "--photo", "q.png", "-o", "x.png", extra[i][1]), 1);
        assert_says(err_path, extra[i][0]);
        assert_says(err_path, ": exists already (--force replaces it)");
        assert_int_equal(rename(extra[i][0], "p.png"), 0);
    }
    static const struct { const char *option, *path, *out; } twice[] = { { "--plot", "./x.png", "x.png" },
        { "--trace", "x.png", "./x.png" }, { "--plot", "x_mask.png", "x.png" } };
    for (size_t i = 0; i < COUNT(twice); i++) {
        assert_int_equal(RUN(NUT, "--photo", "p.png", twice[i].option, twice[i].path, "-o", twice[i].out, "-f"), 2);
        assert_says(err_path, ": would be two files");
    }
    assert_int_equal(RUN(NUT, "--photo", "p.png", "--trace", "./p.png", "-f"), 2);
    assert_says(err_path, "./p.png: is also what is read");
    assert_int_equal(RUN(GENERATE, "--trace", "."), 1);
    assert_says(err_path, ".: is a folder");
    assert_int_equal(RUN(GENERATE, "--trace", "p.png"), 1);
    assert_says(err_path, "p.png: exists already");
    assert_int_equal(RUN(GENERATE, "--trace", "no/t.jsonl"), 1);
    assert_says(err_path, "no/t.jsonl: the folder \"no\"");
    assert_int_equal(rename("p.png", "x-0002.png"), 0);
    assert_int_equal(RUN(GENERATE, "--out", "x.png", "--count", "3", "--json"), 1);
    assert_says(err_path, "x-0002.png: exists already");
    json_t *json = output_json(), *error = json_object_get(json, "error");
    assert_int_equal(json_integer_value(json_object_get(error, "code")), 1);
    assert_non_null(strstr(json_string_value(json_object_get(error, "message")), "exists already"));
    assert_int_equal(json_array_size(json_object_get(json, "files")), 0);
    json_decref(json);
    assert_int_equal(files_here(), 1);
}

/* --- told --------------------------------------------------------------------------------------------------------------- */

static void test_help(void **state)
{
    (void)state;
    static const char shared[] =
        "--device --caps --precision --max-memory --cache-dir --no-cache --progress --verbose --quiet --json --help";
    static const struct { const char *command, *options; } cases[] = {
        { "generate", "--model --prompt --negative --out --force --count --dry-run --photo --mask --strength --seed --steps --guidance "
                      "--width --height --scheduler --spacing --karras --rng --object --defect --template --normal --detail --mask-shape "
                      "--mask-size --method --clip --lambda --growth --inner --guided-first --guided-last --words-mean --attention-res "
                      "--prompt-rate --image-weight --image-share --gain --odd-off --no-mask-out --whole --save-region --save-attention "
                      "--save-photo --trace --plot --preview --preview-vae --example" },
        { "verify", "--model --clip --strict --example" },
        { "bench", "--shape --time-limit --list --model --random --clip --width --height --format --out --plot --threshold --force"
          " --example" },
        { "sheet", "--out --force --columns --cell --json --help --example" },
        { "devices", "--json --help" },
        { "tokens", "--model --tokenizer --object --defect --template --json --help --example" },
        { "version", "--json --help" },
        { "help", "--help" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char options[1024];
        snprintf(options, sizeof(options), "%s %s", cases[i].options, i < 3 ? shared : "");
        assert_int_equal(RUN(cases[i].command, "--bogus", "--help"), 0); /* anywhere */
        assert_empty(err_path);
        size_t size;
        char *help = read_whole(out_path, &size), *state_of = NULL, usage[64];
        snprintf(usage, sizeof(usage), "Usage: blemish %s", cases[i].command);
        assert_true(!strncmp(help, usage, strlen(usage)));
        for (char *name = strtok_r(options, " ", &state_of); name; name = strtok_r(NULL, " ", &state_of)) {
            char row[64];
            snprintf(row, sizeof(row), " %s", name);
            if (!strcmp(name, "--example"))
                snprintf(row, sizeof(row), "\n  blemish %s ", cases[i].command);
            if (!strstr(help, row))
                fail_msg("help of %s does not mention \"%s\"", cases[i].command, row);
        }
        for (char *line = strtok_r(help, "\n", &state_of); line; line = strtok_r(NULL, "\n", &state_of))
            if (strlen(line) > 79 || (*line && line[strlen(line) - 1] == ' '))
                fail_msg("help of %s: \"%s\" is too long or ends in a space", cases[i].command, line);
        free(help);

        assert_int_equal(RUN("help", cases[i].command), 0); /* the same text */
        assert_says(out_path, usage);
        assert_int_equal(RUN("--help"), 0);
        assert_says(out_path, cases[i].command);
    }
    assert_int_equal(RUN("help"), 0);
    assert_says(out_path, "Exit codes");
    assert_int_equal(files_here(), 0);
}

static void test_version(void **state)
{
    (void)state;
    char line[32];
    snprintf(line, sizeof(line), "blemish %s\n", bl_version());
    assert_int_equal(RUN("version"), 0);
    assert_says(out_path, line);
    assert_int_equal(RUN("--version"), 0);
    assert_says(out_path, line);
    assert_int_equal(RUN("version", "--json"), 0);
    json_t *json = output_json();
    assert_string_equal(json_string_value(json_object_get(json, "version")), bl_version());
    json_decref(json);
}

/* A result that does not arrive is a failure, whatever the reader did. */
static void test_lost_output(void **state)
{
    (void)state;
    if (!access("/dev/full", W_OK)) {
        assert_int_equal(finish(start((const char *const[ARGS_MAX + 1]){ "version" }, "/dev/full")), 1);
        assert_says(err_path, "cannot write to standard output");
        assert_int_equal(finish(start((const char *const[ARGS_MAX + 1]){ "help" }, "/dev/full")), 1);
    }
    assert_int_equal(finish(start((const char *const[ARGS_MAX + 1]){ "version" }, NULL)), 1); /* closed */
    assert_says(err_path, "cannot write to standard output");
}

static void test_devices(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(RUN("devices"), 0);
    assert_says(out_path, "index");
    assert_int_equal(RUN("devices", "--json"), 0);
    json_t *json = output_json();
    const json_t *first = json_array_get(json, 0);
    assert_int_equal(json_integer_value(json_object_get(first, "index")), 0);
    assert_int_equal(json_string_length(json_object_get(first, "uuid")), 36);
    assert_true(json_integer_value(json_object_get(first, "memory")) > 0);
    assert_true(json_string_length(json_object_get(first, "name")) > 0);
    json_decref(json);
}

static void test_tokens(void **state)
{
    (void)state;
    const char *model = tiny_model();
    assert_int_equal(RUN("tokens", "--model", model, "a photo of a hazelnut"), 0);
    assert_says(out_path, "start");
    assert_says(out_path, "end\n");
    assert_empty(err_path);
    assert_int_equal(RUN("tokens", "--json", "a nut", "-m", model), 0); /* options after the prompt */
    json_t *json = output_json(), *tokens = json_object_get(json, "tokens");
    assert_string_equal(json_string_value(json_object_get(json, "prompt")), "a nut");
    assert_int_equal(json_integer_value(json_object_get(json, "count")), json_array_size(tokens));
    assert_true(json_array_size(tokens) >= 4);
    assert_non_null(strstr(json_string_value(json_object_get(json_array_get(tokens, 0), "text")), "start"));
    const json_int_t limit = json_integer_value(json_object_get(json, "limit"));
    assert_true(json_is_false(json_object_get(json_array_get(tokens, 1), "guided")));
    json_decref(json);

    assert_int_equal(RUN("tokens", "-m", model, "a [[cracked]] nut"), 0);
    assert_says(out_path, "cracked</w>      guided\n");
    assert_int_equal(RUN("tokens", "-m", model, "--object", "nut", "--defect", "bad", "--template", "{defect} {object}", "--json"), 0);
    json = output_json();
    assert_string_equal(json_string_value(json_object_get(json, "prompt")), "bad nut");
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(json, "tokens"), 1), "guided")));
    assert_true(json_is_false(json_object_get(json_array_get(json_object_get(json, "tokens"), 2), "guided")));
    json_decref(json);
    assert_int_equal(RUN("tokens", "-m", model, "a [[cracked nut"), 3);
    assert_says(err_path, "\"[[\" is not closed");

    char many[1024] = ""; /* a "7" is one token each */
    for (json_int_t i = 0; i < limit && 2 * i + 2 < (json_int_t)sizeof(many); i++)
        strcat(many, "7 ");
    assert_int_equal(RUN("tokens", "--model", model, many), 3);
    assert_says(err_path, "the prompt is too long");
    assert_says(out_path, "too long");
    assert_int_equal(RUN("tokens", "--tokenizer", "nowhere", "a"), 4);
    assert_int_equal(files_here(), 0);
}

/* --- made --------------------------------------------------------------------------------------------------------------- */

static bool holds(const char *data, size_t size, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= size; i++)
        if (!memcmp(data + i, part, n))
            return true;
    return false;
}

static void test_generate(void **state)
{
    (void)state;
    const char *model = tiny_model();
    need_device();
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "--out", "a.png", "--seed", "18446744073709551615"), 0);
    size_t size, again_size;
    char *listed = read_whole(out_path, &size);
    assert_string_equal(listed, "a.png\n");
    free(listed);
    assert_says(err_path, "a.png: seed 18446744073709551615");
    assert_int_equal(files_here(), 1);

    bl_image image;
    assert_int_equal(bl_image_read("a.png", 3, &image), BL_OK);
    assert_int_equal(image.width, 64);
    assert_int_equal(image.height, 64);
    bl_image_free(&image);
    char *png = read_whole("a.png", &size);
    assert_true(holds(png, size, "iTXtparameters"));
    assert_true(holds(png, size, "a nut"));
    assert_true(holds(png, size, "iTXtblemish"));
    assert_true(holds(png, size, "iTXtXML:com.adobe.xmp"));
    assert_true(holds(png, size, "newscodes/digitalsourcetype/trainedAlgorithmicMedia\""));
    assert_false(holds(png, size, model)); /* no paths */

    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "--out", "a.png"), 1);
    assert_says(err_path, "a.png: exists already");
    assert_empty(out_path);
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "-o", "a.png", "-f", "-q", "-s", "18446744073709551615"), 0);
    assert_empty(err_path);
    char *again = read_whole("a.png", &again_size); /* the same seed, the same bytes */
    assert_int_equal(size, again_size);
    assert_memory_equal(png, again, size);
    free(png);
    free(again);
}

static void test_dry_run(void **state)
{
    (void)state;
    const char *model = tiny_model();
    need_device();
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "--dry-run", "--json", "-o", "d.png"), 0);
    json_t *json = output_json(), *memory = json_object_get(json, "memory");
    const json_int_t peak = json_integer_value(json_object_get(memory, "peak"));
    assert_true(json_is_true(json_object_get(memory, "fits")) && peak > 0);
    assert_int_equal(json_array_size(json_object_get(memory, "stages")), 3);
    assert_int_equal(json_array_size(json_object_get(json, "files")), 0);
    json_decref(json);
    assert_int_equal(files_here(), 0);

    char size[32];
    snprintf(size, sizeof(size), "%lld", (long long)peak);
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "--dry-run", "--max-memory", size), 0);
    assert_says(out_path, "decode");
    assert_says(out_path, ": fits\n");
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "--dry-run", "--max-memory", "9M"), 6);
    assert_says(out_path, "limit 9.0 MiB: does not fit");
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "-o", "d.png", "--max-memory", "9M"), 6);
    assert_says(err_path, "more than the 9.0 MiB allowed");
    assert_int_equal(files_here(), 0);
}

/* Other schedulers and random numbers: told, stored, repeated; refused before anything is loaded. */
static void test_generate_otherwise(void **state)
{
    (void)state;
    const char *model = tiny_model();
    need_device();
    static const struct { const char *scheduler, *rng; } runs[] = {
        { "euler", "torch-cpu" }, { "euler-a", "torch-cuda" }, { "euler-a", "torch-cpu" }, { "dpm++2m", "philox" }, { "lcm", "torch-cpu" },
    };
    char *before = NULL;
    size_t before_size = 0;
    for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
        const bool karras = i == 3;
        char *png[2];
        size_t size[2];
        for (int k = 0; k < 2; k++) {
            assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "3", "--guidance", "1", "--scheduler", runs[i].scheduler,
                                 "--rng", runs[i].rng, "-o", "o.png", "-f", "--json", karras ? "--karras" : "--force"), 0);
            json_t *json = output_json();
            const json_t *told = json_object_get(json_array_get(json_object_get(json, "files"), 0), "parameters");
            assert_string_equal(json_string_value(json_object_get(told, "scheduler")), runs[i].scheduler);
            assert_string_equal(json_string_value(json_object_get(told, "rng")), runs[i].rng);
            assert_int_equal(json_is_true(json_object_get(told, "karras")), karras);
            json_decref(json);
            png[k] = read_whole("o.png", &size[k]);
        }
        char line[64];
        snprintf(line, sizeof(line), "Sampler: %s%s, ", runs[i].scheduler, karras ? " Karras" : "");
        assert_true(holds(png[0], size[0], line));
        snprintf(line, sizeof(line), "RNG: %s, ", runs[i].rng);
        assert_true(holds(png[0], size[0], line));
        assert_true(size[0] == size[1] && !memcmp(png[0], png[1], size[0]));
        assert_true(!before || before_size != size[0] || memcmp(before, png[0], size[0]));
        free(before);
        free(png[1]);
        before = png[0];
        before_size = size[0];
    }
    free(before);
    static const struct { const char *args[5], *says; } refused[] = {
        { { "--scheduler", "lcm", "--steps", "51" }, "51 steps: scheduler lcm runs at most 50" },
        { { "--scheduler", "ddim", "--karras" }, "scheduler ddim has no Karras sigmas" },
        { { "--rng", "torch-cuda", "--width=1024", "--height=1024" }, "rng torch-cuda: above 40960 latents" },
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        const char *const *a = refused[i].args;
        assert_int_equal(RUN("generate", "-m", model, "-p", "a nut", "-o", "r.png", a[0], a[1], a[2] ? a[2] : "-q", a[3] ? a[3] : "-q"), 2);
        assert_says(err_path, refused[i].says);
    }
    assert_int_equal(files_here(), 1);
}

static void test_generate_many(void **state)
{
    (void)state;
    const char *model = tiny_model();
    need_device();
    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "2", "--count", "2", "--seed", "random", "-o", "b.png",
                         "--json", "-v"), 0);
    assert_int_equal(files_here(), 2);
    assert_says(err_path, "device: ");
    assert_says(err_path, "kernel: ");
    json_t *json = output_json(), *files = json_object_get(json, "files");
    assert_int_equal(json_array_size(files), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(files, 0), "path")), "b-0001.png");
    assert_string_equal(json_string_value(json_object_get(json_array_get(files, 1), "path")), "b-0002.png");
    const char *seed = json_string_value(json_object_get(json, "seed"));
    const char *second = json_string_value(json_object_get(json_array_get(files, 1), "seed"));
    assert_true(strtoull(second, NULL, 10) == strtoull(seed, NULL, 10) + 1);
    const json_t *parameters = json_object_get(json_array_get(files, 1), "parameters"); /* what the picture stores */
    assert_string_equal(json_string_value(json_object_get(parameters, "prompt")), "a nut");
    assert_string_equal(json_string_value(json_object_get(parameters, "seed")), second);
    assert_true(json_array_size(json_object_get(json, "kernels")) > 0);
    assert_true(json_integer_value(json_object_get(json, "device_bytes")) > 0);
    assert_true(json_real_value(json_object_get(json, "seconds")) > 0);
    assert_non_null(json_object_get(json_object_get(json, "device"), "uuid"));
    json_decref(json);

    assert_int_equal(RUN("generate", "-m", model, SMALL, "--steps", "4", "--photo", "b-0001.png", "-o", "c.png"), 0);
    size_t size;
    char *png = read_whole("c.png", &size);
    assert_true(holds(png, size, "digitalsourcetype/compositeWithTrainedAlgorithmicMedia\""));
    free(png);
}

static void test_generate_refused(void **state)
{
    (void)state;
    const char *model = tiny_model();
    need_device();
    char many[400] = "";
    for (int i = 0; i < 90; i++)
        strcat(many, "7 ");
    assert_int_equal(RUN("generate", "-m", "nowhere", PROMPT), 4);
    assert_says(err_path, "nowhere");
    assert_int_equal(RUN("generate", "-m", model, PROMPT, "--device", "no such device"), 5);
    assert_int_equal(RUN("generate", "-m", model, "-p", many), 3);
    assert_int_equal(RUN("generate", "-m", model, "-p", many, "--count", "2", "--json"), 3); /* all fail: the first code */
    assert_says(err_path, "2 of 2 pictures failed");
    json_t *json = output_json(), *files = json_object_get(json, "files");
    assert_int_equal(json_array_size(files), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json_array_get(files, 1), "error"), "code")), 3);
    json_decref(json);
    assert_int_equal(files_here(), 0);
}

/* Starts and waits until the work has begun: the bar is forced onto the pipe, its first '[' says so. */
static pid_t start_work(const char *steps, const char *count)
{
    const char *const args[ARGS_MAX + 1] = { "generate", "-m", tiny_model(), SMALL, "--steps", steps, "--count", count, "-o", "d.png",
                                             "--progress", "bar" };
    const pid_t pid = start(args, out_path);
    siginfo_t ended = { 0 };
    for (int i = 0; i < 2400 && !says(err_path, "[") && !ended.si_pid; i++) { /* two minutes */
        waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
    return pid;
}

/* A file that appears while the others are made is left alone, and they are made. */
static void test_some_failed(void **state)
{
    (void)state;
    tiny_model();
    need_device();
    const pid_t pid = start_work("10", "3");
    FILE *f = fopen("d-0002.png", "wb");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(finish(pid), 1);
    assert_says(err_path, "picture 2, seed 43: d-0002.png: exists already");
    assert_says(err_path, "1 of 3 pictures failed");
    assert_says(out_path, "d-0001.png\nd-0003.png\n");
    struct stat info;
    assert_int_equal(stat("d-0002.png", &info), 0);
    assert_int_equal(info.st_size, 0);
    assert_int_equal(files_here(), 3);
}

static void interrupt(int signal, int code)
{
    const pid_t pid = start_work("900", "1");
    assert_int_equal(kill(pid, signal), 0);
    assert_int_equal(finish(pid), code);
    assert_says(err_path, "interrupted: nothing is written");
    assert_empty(out_path);
    assert_int_equal(files_here(), 0);
}

static void test_interrupted(void **state)
{
    (void)state;
    tiny_model();
    need_device();
    interrupt(SIGINT, 130);
    interrupt(SIGTERM, 143);
}

static void test_verify(void **state)
{
    (void)state;
    const char *model = tiny_model(), *reference = getenv("BLEMISH_REFERENCE");
    need_device();
    char golden[512];
    snprintf(golden, sizeof(golden), "%s/golden/text_tiny15.safetensors", reference ? reference : "");
    assert_int_equal(RUN("verify", "--model", model, "--precision", "f32", golden), 0);
    assert_says(out_path, "text_tiny15.safetensors");
    assert_says(out_path, " passed, 0 failed, ");
    assert_int_equal(RUN("verify", "--model", model, "--precision", "f32", "--json", golden), 0);
    json_t *json = output_json();
    assert_true(json_integer_value(json_object_get(json, "passed")) > 0);
    assert_true(json_array_size(json_object_get(json, "rows")) > 0);
    assert_string_equal(json_string_value(json_object_get(json, "first_failure")), "");
    json_decref(json);
    assert_int_not_equal(RUN("verify", "--model", model, "nowhere.safetensors"), 0);
    assert_says(err_path, "nowhere.safetensors");
    assert_int_equal(files_here(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused, before_each),
        cmocka_unit_test_setup(test_environment, before_each),
        cmocka_unit_test_setup(test_files_refused, before_each),
        cmocka_unit_test_setup(test_help, before_each),
        cmocka_unit_test_setup(test_version, before_each),
        cmocka_unit_test_setup(test_lost_output, before_each),
        cmocka_unit_test_setup(test_devices, before_each),
        cmocka_unit_test_setup(test_tokens, before_each),
        cmocka_unit_test_setup(test_generate, before_each),
        cmocka_unit_test_setup(test_dry_run, before_each),
        cmocka_unit_test_setup(test_generate_otherwise, before_each),
        cmocka_unit_test_setup(test_generate_many, before_each),
        cmocka_unit_test_setup(test_generate_refused, before_each),
        cmocka_unit_test_setup(test_some_failed, before_each),
        cmocka_unit_test_setup(test_interrupted, before_each),
        cmocka_unit_test_setup(test_verify, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
