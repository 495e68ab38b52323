/* The JSON files of a checkpoint. The first byte says which one the rest is: u, v, t, c, s the configuration of the U-Net, the autoencoder,
 * the text encoder, a CLIP model, the scheduler; i the index of a sharded network. */
#include "fuzz.h"
#include "config.h"
#include "parts.h"
#include "scheduler.h"

static const char shard[] = "\x44\0\0\0\0\0\0\0{\"conv_in.weight\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}  \1\2\3\4";

static void check_channels(const uint32_t *channels, uint32_t levels, uint32_t groups)
{
    FUZZ_CHECK(levels >= 1 && levels <= BL_MAX_LEVELS && groups);
    for (uint32_t i = 0; i < levels; i++)
        FUZZ_CHECK(channels[i] >= 4 && channels[i] <= 16384 && channels[i] % groups == 0);
}

static void check_text(const bl_text_config *c)
{
    FUZZ_CHECK(c->heads && c->channels % c->heads == 0 && c->layers && c->positions >= 2 && c->vocabulary >= 2);
}

/* Every scheduler that the configuration allows makes tables of finite numbers, or says why not. */
static void check_scheduler(const bl_scheduler_config *from, uint32_t h)
{
    const bl_scheduler_kind kind = (bl_scheduler_kind)(h / 8 % BL_SCHEDULER_COUNT);
    bl_scheduler_config c = *from;
    bl_schedule s;
    FUZZ_CHECK(c.train_steps >= 1 && c.train_steps <= 10000 && c.steps_offset < c.train_steps);
    const bl_result r = bl_scheduler_config_override(&c, h % 3 ? bl_scheduler_name(kind) : NULL, NULL, h % 5 == 0);
    if (!fuzz_result(r) || c.train_steps > 1000) /* more are slow, and not different */
        return;
    if (fuzz_result(bl_schedule_create(&c, 1 + h / 64 % 20, 1 - h / 4096 % 16 / 16.0, 0, 7.5f, &s)))
        for (uint32_t i = 0; i <= s.count; i++)
            FUZZ_CHECK(s.abar[i] > 0 && s.abar[i] <= 1);
    bl_schedule_free(&s);
}

static void read_index(void)
{
    bl_tensors *t = NULL;
    char *place = NULL;
    fuzz_files[0].path = "m/model.safetensors.index.json";
    fuzz_files[1] = (struct fuzz_file){ "m/a.safetensors", (const uint8_t *)shard, sizeof(shard) - 1 };
    fuzz_files[2] = (struct fuzz_file){ "m/b.safetensors", (const uint8_t *)shard, sizeof(shard) - 1 };
    fuzz_files[3] = (struct fuzz_file){ "x.safetensors", (const uint8_t *)shard, sizeof(shard) - 1 }; /* must never be found */
    if (fuzz_result(bl_tensors_create(&t)) && fuzz_result(bl_parts_add(t, "m", NULL, "model", "unet.", "a checkpoint", &place))) {
        FUZZ_CHECK(!strcmp(place, "m/model.safetensors.index.json") && bl_tensors_count(t) <= 1);
        for (size_t i = 0; i < bl_tensors_count(t); i++)
            FUZZ_CHECK(!strncmp(bl_safetensors_path(bl_tensors_at(t, i)->file), "m/", 2));
        fuzz_result(bl_tensors_finish(t));
    }
    bl_tensors_destroy(&t);
    bl_free(place);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bl_unet_config unet;
    bl_vae_config vae;
    bl_text_config text;
    bl_clip_config clip;
    bl_scheduler_config scheduler;
    if (!size)
        return 0;
    fuzz_begin(data, size, 0);
    fuzz_files[0] = (struct fuzz_file){ "m/config.json", data + 1, size - 1 };
    switch (data[0]) {
    case 'u':
        if (fuzz_result(bl_unet_config_read("m/config.json", &unet)))
            check_channels(unet.channels, unet.levels, unet.groups);
        break;
    case 'v':
        if (fuzz_result(bl_vae_config_read("m/config.json", &vae)))
            check_channels(vae.channels, vae.levels, vae.groups);
        break;
    case 't':
        if (fuzz_result(bl_text_config_read("m/config.json", &text)))
            check_text(&text);
        break;
    case 'c':
        if (fuzz_result(bl_clip_config_read("m/config.json", &clip)))
            check_text(&clip.text);
        break;
    case 's':
        if (fuzz_result(bl_scheduler_config_read("m/config.json", &scheduler)))
            check_scheduler(&scheduler, fuzz_hash(data, size) / 64);
        break;
    case 'i':
        read_index();
        break;
    default:
        break;
    }
    return fuzz_end();
}

/* The first byte stays, mostly. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    fuzz_dice = seed | 1;
    if (!size || !fuzz_roll(64))
        data[0] = (uint8_t)"uvtcsi"[fuzz_roll(6)];
    return size < 2 ? 1 : fuzz_mutate_part(data, size, max, 1, size - 1, &(size_t){ 0 });
}
