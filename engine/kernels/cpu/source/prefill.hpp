// Prefill attention: many tokens of one request over its cached keys, causal. Included inside an instruction set's
// namespace.
//
// A head at a time, a block of keys at a time, with a running softmax over the blocks, so that the workspace does not
// grow with the context. Both products are panels' (matrix.hpp), whose rows are keys first and then columns of values:
//
//     scores [queries, block] = queries . keys       weights = softmax so far       out += weights . values

constexpr int64_t BLOCK = 256;   // keys of one block
constexpr int64_t TILE = 48;     // queries at a time: their scores stay in the cache
constexpr int64_t PANELS = BLOCK / PANEL_ROWS;

// One query row: what it multiplies keys with, which keys it sees ([0, seen)), where its result goes.
struct Query {
    const Input* values;
    int64_t seen;
    bf16* out;
};

// A thread's memory for one head.
struct PrefillMemory {
    std::vector<Input> key_panels, value_panels, weights;
    std::vector<float> scores, peak, total, out;
};

// Panels of columns of values: for each pair of keys (each key, without bfloat16), 2 * LANES columns side by side.
static inline void pack_values(const bf16* values, int64_t stride, int64_t count, int64_t width, Input* panels) {
    for (int64_t first = 0; first < width; first += PANEL_ROWS, panels += panel_inputs(BLOCK)) {
        const int64_t columns = std::min<int64_t>(PANEL_ROWS, width - first);
#if ABRUZZI_BF16
        const bf16* keys[KEYS];
        for (int64_t key = 0; key < count; key += KEYS) {
            const int64_t some = std::min(KEYS, count - key);
            for (int64_t k = 0; k < some; k++) keys[k] = values + (key + k) * stride;
            interleave(keys, some, first, columns, panels + key * PANEL_ROWS, 0);
        }
#else
        for (int64_t key = 0; key < padded(count); key++)
            for (int64_t i = 0; i < PANEL_ROWS; i++)
                panels[key * PANEL_ROWS + i] = key < count && i < columns ? to_float(values[key * stride + first + i]) : 0;
#endif
    }
}

// Scores become weights: those of a row relative to its new peak, 0 for keys that it does not see. Returns by how much
// what the row had so far shrinks.
static inline float soften(float* score, int64_t seen, float scale, float& peak, float& total, Input* weights) {
    seen = std::min(std::max<int64_t>(seen, 0), BLOCK);
    const int64_t whole = (seen + LANES - 1) / LANES * LANES;
    for (int64_t k = seen; k < whole; k++) score[k] = -INFINITY;
    float best = peak;
    for (int64_t k = 0; k < seen; k++) best = std::max(best, score[k] * scale);
    const float kept = std::exp(peak - best);
    Floats sums = {};
    for (int64_t k = 0; k < whole; k += LANES) {
        Floats weight = exponential(load(score + k) * scale - best);
        for (int64_t i = seen - k; i < LANES; i++) weight[i] = 0;
        sums += weight;
        store(weights + k, weight);
    }
    for (int64_t k = whole; k < BLOCK; k++) weights[k] = Input(0);
    total = total * kept + sum(sums);
    peak = best;
    return kept;
}

// All queries over one block of `count` keys that begin at `first`. Rows of keys have `width` columns.
static void attend_block(const std::vector<Query>& queries, int64_t first, int64_t count, int64_t width,
                         int64_t value_width, float scale, PrefillMemory& memory) {
    const int64_t stride = (value_width + PANEL_ROWS - 1) / PANEL_ROWS * PANEL_ROWS, in_use = padded(count);
    const int64_t panels = (count + PANEL_ROWS - 1) / PANEL_ROWS;
    const Input *x[TILE], *weights[TILE];
    float kept[TILE];
    for (int64_t tile = 0; tile < int64_t(queries.size()); tile += TILE) {
        const int tokens = int(std::min<int64_t>(TILE, int64_t(queries.size()) - tile));
        int64_t most = 0;
        for (int t = 0; t < tokens; t++) {
            x[t] = queries[size_t(tile + t)].values;
            weights[t] = memory.weights.data() + t * BLOCK;
            most = std::max(most, queries[size_t(tile + t)].seen - first);
        }
        if (most <= 0) continue;
        for (int64_t p = 0; p < panels && p * PANEL_ROWS < most; p++) {
            panel_tokens(memory.key_panels.data() + p * panel_inputs(width), width, x, tokens,
                         [&](int t, Floats low, Floats high) {
                             float* to = memory.scores.data() + t * BLOCK + p * PANEL_ROWS;
                             store(to, low);
                             store(to + LANES, high);
                         });
        }
        for (int t = 0; t < tokens; t++) {
            const size_t q = size_t(tile + t);
            kept[t] = soften(memory.scores.data() + t * BLOCK, std::min(queries[q].seen - first, count), scale,
                             memory.peak[q], memory.total[q], memory.weights.data() + t * BLOCK);
        }
        for (int64_t column = 0; column < stride; column += PANEL_ROWS) {
            panel_tokens(memory.value_panels.data() + column / PANEL_ROWS * panel_inputs(BLOCK), in_use, weights,
                         tokens, [&](int t, Floats low, Floats high) {
                             float* to = memory.out.data() + (tile + t) * stride + column;
                             store(to, load(to) * kept[t] + low);
                             store(to + LANES, load(to + LANES) * kept[t] + high);
                         });
        }
    }
}

// Causal attention of `queries`, whose keys and values come in blocks: bring(first, count) gives their rows.
template <class Bring>
static void attend_queries(const std::vector<Query>& queries, int64_t keys, int64_t width, int64_t value_width,
                           float scale, const Bring& bring) {
    static thread_local PrefillMemory memory;
    const int64_t stride = (value_width + PANEL_ROWS - 1) / PANEL_ROWS * PANEL_ROWS;
    memory.key_panels.resize(size_t(PANELS * panel_inputs(width)));
    memory.value_panels.resize(size_t(stride / PANEL_ROWS * panel_inputs(BLOCK)));
    memory.weights.resize(size_t(TILE * BLOCK));
    memory.scores.resize(size_t(TILE * BLOCK));
    memory.peak.assign(queries.size(), -INFINITY);
    memory.total.assign(queries.size(), 0.0f);
    memory.out.assign(queries.size() * size_t(stride), 0.0f);
    for (int64_t first = 0; first < keys; first += BLOCK) {
        const int64_t count = std::min(BLOCK, keys - first);
        const auto [key_rows, key_stride, value_rows, value_stride] = bring(first, count);
        const Matrix matrix = {key_rows, nullptr, count, width, PLAIN, 0};
        for (int64_t panel = 0; panel * PANEL_ROWS < count; panel++) {
            Row rows[PANEL_ROWS];
            for (int64_t r = 0; r < PANEL_ROWS; r++)
                rows[r] = {reinterpret_cast<const uint8_t*>(
                               key_rows + std::min(panel * PANEL_ROWS + r, matrix.rows - 1) * key_stride),
                           nullptr, false};
            pack_panel<PlainFormat>(rows, width, memory.key_panels.data() + panel * panel_inputs(width));
        }
        pack_values(value_rows, value_stride, count, value_width, memory.value_panels.data());
        attend_block(queries, first, count, width, value_width, scale, memory);
    }
    for (size_t q = 0; q < queries.size(); q++) {
        const float factor = 1.0f / memory.total[q];
        for (int64_t i = 0; i < value_width; i += LANES)
            store_some(queries[q].out + i, load(&memory.out[q * size_t(stride) + size_t(i)]) * factor, value_width - i);
    }
}

struct BlockRows {
    const bf16* keys;
    int64_t key_stride;
    const bf16* values;
    int64_t value_stride;
};

// Copies a run of a request's cached rows, of which each has `width` values from `offset` on.
static inline void gather(const Cache& cache, const int64_t* blocks, int64_t first, int64_t count, int64_t offset,
                          int64_t width, bf16* to) {
    for (int64_t k = 0; k < count; k++) {
        const int64_t place = first + k;
        const bf16* from =
            cache.data + (blocks[place / cache.block_size] * cache.block_size + place % cache.block_size) * cache.width;
        std::memcpy(to + k * width, from + offset, size_t(width) * 2);
    }
}

// rows [count, stride] = inputs . weight rows, for a small dense weight.
static inline void expand(const bf16* weight, int64_t rows, int64_t columns, const Input* const* x, int64_t count,
                          bf16* to, int64_t stride) {
    const Matrix matrix = {weight, nullptr, rows, columns, PLAIN, 0};
    Input* panel = scratch(panel_inputs(columns));
    for (int64_t first = 0; first < rows; first += PANEL_ROWS) {
        Row some[PANEL_ROWS];
        for (int64_t r = 0; r < PANEL_ROWS; r++) some[r] = PlainFormat::row(matrix, std::min(first + r, rows - 1));
        pack_panel<PlainFormat>(some, columns, panel);
        panel_tokens(panel, columns, x, int(count), [&](int t, Floats low, Floats high) {
            bf16* place = to + t * stride + first;
            store_some(place, low, rows - first);
            store_some(place + LANES, high, rows - first - LANES);
        });
    }
}

// Latent attention in the expanded form: see mla_prefill in reference_attention.py. query rows [heads * (nope +
// rotary)]; out [tokens, heads, value], dense.
static void mla_prefill(Rows query, int64_t tokens, int64_t heads, Cache cache, const int64_t* blocks, int64_t start,
                        const bf16* up_k, const bf16* up_v, int64_t nope, int64_t rotary, int64_t value, float scale,
                        bf16* out) {
    const int64_t latent = cache.width - rotary, width = nope + rotary, keys = start + tokens;
    Pool::shared().each(int(heads), [&](int h) {
        static thread_local std::vector<bf16> cached, key_rows, value_rows;
        cached.resize(size_t(BLOCK * cache.width));
        key_rows.resize(size_t(BLOCK * width));
        value_rows.resize(size_t(BLOCK * value));
        std::vector<Query> queries;
        const Inputs held(Rows{query.data + h * width, query.stride}, tokens, width);
        for (int64_t t = 0; t < tokens; t++) queries.push_back({held[t], start + t + 1, out + (t * heads + h) * value});
        attend_queries(queries, keys, width, value, scale, [&](int64_t first, int64_t count) {
            gather(cache, blocks, first, count, 0, cache.width, cached.data());
            const Inputs latents(Rows{cached.data(), cache.width}, count, latent);
            const Input* x[BLOCK];
            for (int64_t k = 0; k < count; k++) x[k] = latents[k];
            expand(up_k + h * nope * latent, nope, latent, x, count, key_rows.data(), width);
            expand(up_v + h * value * latent, value, latent, x, count, value_rows.data(), value);
            for (int64_t k = 0; k < count; k++)
                std::memcpy(&key_rows[size_t(k * width + nope)], &cached[size_t(k * cache.width + latent)],
                            size_t(rotary) * 2);
            return BlockRows{key_rows.data(), width, value_rows.data(), value};
        });
    });
}

// Grouped-query attention: see gqa_prefill in reference_attention.py. out [tokens, heads, width], dense.
static void gqa_prefill(Rows query, int64_t tokens, int64_t heads, Cache cache, const int64_t* blocks, int64_t start,
                        int64_t kv_heads, float scale, bf16* out) {
    const int64_t width = cache.width / (2 * kv_heads), shared = heads / kv_heads;
    Pool::shared().each(int(heads), [&](int h) {
        static thread_local std::vector<bf16> key_rows, value_rows;
        key_rows.resize(size_t(BLOCK * width));
        value_rows.resize(size_t(BLOCK * width));
        std::vector<Query> queries;
        const Inputs held(Rows{query.data + h * width, query.stride}, tokens, width);
        for (int64_t t = 0; t < tokens; t++) queries.push_back({held[t], start + t + 1, out + (t * heads + h) * width});
        attend_queries(queries, start + tokens, width, width, scale, [&](int64_t first, int64_t count) {
            gather(cache, blocks, first, count, h / shared * width, width, key_rows.data());
            gather(cache, blocks, first, count, (kv_heads + h / shared) * width, width, value_rows.data());
            return BlockRows{key_rows.data(), width, value_rows.data(), width};
        });
    });
}
