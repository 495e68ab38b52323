/* blemish sheet: pictures that generate made, beside what belongs to them. Layer 6. */
#include "canvas.h"
#include "commands.h"
#include "output.h"
#include "picture.h"
#include "session.h"
#include "sheet.h"
#include "signals.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct sheet_values {
    const char *out, *columns;
    uint32_t cell;
    bool force, json;
} sheet_values;

/* What can be shown of a picture. */
static const struct {
    const char *name, *heading;
    picture_file file;
    const char *ending; /* of the file beside the picture */
    const char *when;   /* generate writes it */
    bool exact;
} kinds[] = {
    { "photo", "normal photo", PICTURE_PHOTO, "_photo.png", "with --save-photo", false },
    { "picture", "defect", PICTURE_IMAGE, NULL, NULL, false },
    { "mask", "mask", PICTURE_MASK, "_mask.png", "for a photo and guided words", true },
    { "attention", "attention", PICTURE_ATTENTION, "_attention.png", "with --save-attention", false },
    { "region", "region", PICTURE_REGION, "_region.png", "with --save-region", true },
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };
_Static_assert((int)KINDS == (int)SHEET_COLUMNS_MAX, "a sheet has room for every kind once");

/* One run. */
typedef struct job {
    const command *self;
    const sheet_values *values;
    size_t columns[SHEET_COLUMNS_MAX]; /* indices of kinds */
    char **pictures;
    size_t count;
    sheet sheet;
} job;

/* --- what is asked for --------------------------------------------------------------------------------------------------- */

/* Parses --columns; 0 or the exit code. */
static int choose_columns(job *j)
{
    for (const char *s = j->values->columns;; s++) {
        const size_t n = strcspn(s, ",");
        size_t k = 0;
        while (k < KINDS && (strlen(kinds[k].name) != n || memcmp(kinds[k].name, s, n)))
            k++;
        if (k == KINDS)
            return options_refuse(j->self, "--columns: \"%.*s\" is none of photo, picture, mask, attention, region", (int)n, s);
        for (size_t i = 0; i < j->sheet.columns; i++)
            if (j->columns[i] == k)
                return options_refuse(j->self, "--columns: %s is there twice", kinds[k].name);
        j->sheet.headings[j->sheet.columns] = kinds[k].heading;
        j->columns[j->sheet.columns++] = k;
        s += n;
        if (!*s)
            return 0;
    }
}

/* Whether `path` is a file beside one of the pictures: of nut*.png, nut_mask.png is no picture of its own. */
static bool is_beside(const char *path, const operands *pictures)
{
    const size_t length = strlen(path);
    for (size_t k = 0; k < KINDS; k++) {
        const size_t n = kinds[k].ending ? strlen(kinds[k].ending) : length;
        if (n >= length || strcmp(path + length - n, kinds[k].ending))
            continue;
        for (int i = 0; i < pictures->count; i++) {
            const char *other = pictures->items[i];
            if (strlen(other) == length - n + strlen(".png") && !strncmp(other, path, length - n) && picture_has_png_name(other))
                return true;
        }
    }
    return false;
}

static void choose_pictures(job *j, const operands *given)
{
    for (int i = 0; i < given->count; i++)
        if (!is_beside(given->items[i], given))
            j->pictures[j->count++] = given->items[i];
}

static bl_result names_of(const char *path, char *names[PICTURE_FILES])
{
    const picture_wishes all = { .out = path, .mask = true, .region = true, .attention = true, .photo = true };
    if (picture_names(&all, 0, names))
        return BL_OK;
    report("sheet", "host memory ran out");
    return BL_ERROR_MEMORY;
}

/* The sheet must not take the place of what is on it. */
static bl_result check_name(const job *j)
{
    char reason[768];
    bl_result result = BL_OK;
    for (size_t i = 0; i < j->count && result == BL_OK; i++) {
        char *names[PICTURE_FILES];
        result = names_of(j->pictures[i], names);
        for (int k = 0; k < PICTURE_FILES && result == BL_OK; k++)
            if (names[k] && picture_same_file(names[k], j->values->out)) {
                report("sheet", "%s: is also what is read; give another name", j->values->out);
                result = BL_ERROR_USAGE;
            }
        picture_names_free(names);
    }
    if (result == BL_OK && !picture_may_write(j->values->out, j->values->force, reason, sizeof(reason))) {
        report("sheet", "%s", reason);
        result = BL_ERROR_OUTPUT;
    }
    return result;
}

/* --- one row ------------------------------------------------------------------------------------------------------------- */

static char *joined(const char *a, const char *b, const char *c, const char *d)
{
    const size_t size = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *text = malloc(size);
    if (text)
        snprintf(text, size, "%s%s%s%s", a, b, c, d);
    return text;
}

/* What the picture was made of: "hazelnut: [[cracked]]", or the prompt with its marks; "" where it is not known. */
static char *words_of(const json_t *parameters)
{
    const json_t *method = json_object_get(parameters, "method");
    const char *object = json_string_value(json_object_get(method, "object"));
    const char *defect = json_string_value(json_object_get(method, "defect"));
    const char *marked = json_string_value(json_object_get(method, "marked_prompt"));
    const char *prompt = json_string_value(json_object_get(parameters, "prompt"));
    if (object && defect)
        return strstr(defect, "[[") ? joined(object, ": ", defect, "") : joined(object, ": [[", defect, "]]");
    return joined(marked ? marked : prompt ? prompt : "", "", "", "");
}

/* Puts the words and the note of a picture into the row; what it stores may be missing or nonsense. */
static bl_result describe(const char *path, char **words, char **note)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *text = NULL;
    const bl_result result = bl_image_read_text(path, "blemish", &text);
    json_t *parameters = text ? json_loads(text, 0, NULL) : NULL;
    const char *seed = json_string_value(json_object_get(parameters, "seed"));
    *words = words_of(parameters);
    *note = joined(name, seed ? ", seed " : "", seed ? seed : "", "");
    json_decref(parameters);
    bl_text_free(text);
    return result == BL_ERROR_MEMORY || !*words || !*note ? BL_ERROR_MEMORY : BL_OK;
}

/* Reads a file of the row; on failure the reason has been told. */
static bl_result read_cell(const char *path, size_t kind, sheet_cell *cell)
{
    if (kinds[kind].when && access(path, F_OK) && errno == ENOENT) {
        report("sheet", "%s: is missing; 'blemish generate' writes it %s, and --columns leaves it out", path, kinds[kind].when);
        return BL_ERROR_INPUT;
    }
    cell->exact = kinds[kind].exact;
    const bl_result result = bl_image_read(path, 3, &cell->image);
    if (result != BL_OK)
        report("sheet", "%s", bl_last_error());
    return result;
}

/* What belongs to one picture has one size. */
static bl_result read_cells(const job *j, char *names[PICTURE_FILES], sheet_cell cells[SHEET_COLUMNS_MAX])
{
    bl_result result = BL_OK;
    const char *first = names[kinds[j->columns[0]].file];
    for (size_t i = 0; i < j->sheet.columns && result == BL_OK; i++) {
        const char *path = names[kinds[j->columns[i]].file];
        const bl_image *a = &cells[0].image, *b = &cells[i].image;
        result = read_cell(path, j->columns[i], &cells[i]);
        if (result == BL_OK && (a->width != b->width || a->height != b->height)) {
            report("sheet", "%s has %u x %u pixels, %s %u x %u: they do not belong together", first, a->width, a->height, path, b->width,
                   b->height);
            result = BL_ERROR_INPUT;
        }
    }
    return result;
}

static bl_result add_row(job *j, const char *picture)
{
    char *names[PICTURE_FILES], *words = NULL, *note = NULL;
    sheet_cell cells[SHEET_COLUMNS_MAX] = { 0 };
    bl_result result = names_of(picture, names);
    if (result == BL_OK)
        result = read_cells(j, names, cells);
    if (result == BL_OK) {
        result = describe(picture, &words, &note);
        const bl_result added = sheet_add(&j->sheet, cells, words, note);
        result = result == BL_OK ? added : result;
        uint32_t width, height;
        sheet_size(&j->sheet, &width, &height);
        if (result == BL_ERROR_USAGE)
            report("sheet", "%s: with it the sheet would have %u x %u pixels, more than a picture may; give fewer pictures, or a smaller "
                   "--cell", picture, width, height);
        else if (result != BL_OK)
            report("sheet", "host memory ran out");
    }
    for (size_t i = 0; i < SHEET_COLUMNS_MAX; i++)
        bl_image_free(&cells[i].image);
    picture_names_free(names);
    return result;
}

/* --- the run -------------------------------------------------------------------------------------------------------------- */

static bl_result write_sheet(const job *j)
{
    bl_image canvas;
    char mark[PICTURE_MARK_SIZE];
    bl_result result = sheet_draw(&j->sheet, &canvas);
    if (result != BL_OK) {
        report("sheet", "host memory ran out");
        return result;
    }
    picture_mark(mark, true);
    result = bl_image_write_png(j->values->out, &canvas, &(bl_image_text){ PICTURE_MARK_KEY, mark }, 1);
    if (result != BL_OK)
        report("sheet", "%s", bl_last_error());
    canvas_free(&canvas);
    return result;
}

static bl_result make_sheet(job *j)
{
    bl_result result = check_name(j);
    for (size_t i = 0; i < j->count && result == BL_OK; i++) {
        result = add_row(j, j->pictures[i]);
        if (signals_stop()) {
            report("sheet", "interrupted: nothing is written");
            result = BL_ERROR_CANCELLED;
        }
    }
    return result == BL_OK ? write_sheet(j) : result;
}

static bool print_result(const job *j)
{
    uint32_t width, height;
    sheet_size(&j->sheet, &width, &height);
    if (j->values->json)
        return print_json(json_pack("{s:o, s:i, s:i, s:i}", "path", json_text(j->values->out), "rows", (int)j->sheet.count, "width",
                                    (int)width, "height", (int)height));
    print_line("%s", j->values->out);
    return true;
}

static int run(const command *self, int argc, char **argv)
{
    sheet_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    if (!picture_has_png_name(values.out))
        return options_refuse(self, "--out: \"%s\" must end in .png, the only format written", values.out);
    job j = { .self = self, .values = &values, .sheet = { .cell = values.cell } };
    int code = choose_columns(&j);
    if (code)
        return code;
    j.pictures = calloc((size_t)rest.count, sizeof(*j.pictures));
    bl_result result = j.pictures ? BL_OK : BL_ERROR_MEMORY;
    if (result == BL_OK) {
        choose_pictures(&j, &rest);
        result = make_sheet(&j);
    } else {
        report(self->name, "host memory ran out");
    }
    code = session_exit_code(result);
    if (result == BL_OK && !print_result(&j)) {
        report(self->name, "host memory ran out");
        code = -BL_ERROR_MEMORY;
    }
    sheet_free(&j.sheet);
    free(j.pictures);
    return code;
}

static const cli_option options[] = {
    { .name = "out", .letter = 'o', .argument = "FILE.png", .type = OPTION_PATH, .where = offsetof(sheet_values, out),
      .value = "sheet.png", .help = "the contact sheet; its folder must exist" },
    { .name = "force", .letter = 'f', .type = OPTION_FLAG, .where = offsetof(sheet_values, force),
      .help = "replace it if it exists, but nothing that is read" },
    { .name = "columns", .argument = "LIST", .type = OPTION_TEXT, .min = 1, .where = offsetof(sheet_values, columns),
      .value = "photo,picture,mask,attention",
      .help = "what is shown of every picture, from left to right: photo, picture, mask, attention, region" },
    { .name = "cell", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 160, .max = 1024, .where = offsetof(sheet_values, cell),
      .value = "256", .help = "longer side of a picture on the sheet" },
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(sheet_values, json), .help = "print a JSON object" },
};

const command command_sheet = {
    .name = "sheet", .summary = "puts pictures beside their photos and masks on a contact sheet",
    .usage = "[options] PICTURE.png...",
    .text = "Makes one picture for the eye out of pictures that 'blemish generate' made: a\n"
            "row for each, with the normal photo, the defect, the mask of what changed and\n"
            "the attention, read from the files that generate wrote beside it (FILE.png,\n"
            "FILE_photo.png, FILE_mask.png, ...), and beneath it the words, which are stored\n"
            "in the picture; those that were guided are red. Of names such as nut*.png those\n"
            "of files beside a picture are no rows of their own. Prints the name of the\n"
            "sheet. Needs no device.",
    .examples = "  blemish generate -m ~/models/sd15 --photo nut.png --object hazelnut \\\n"
                "      --defect cracked --count 5 --out c.png --save-photo --save-attention\n"
                "  blemish sheet c-*.png --out sheet.png\n"
                "  blemish sheet c-*.png --columns picture,mask --cell 512 --out large.png\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "PICTURE", .operand_min = 1,
    .operand_max = 1 << 20, .run = run,
};
