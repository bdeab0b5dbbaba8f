// Decode attention over the paged cache: one query token a request. Included inside an instruction set's namespace.
//
// A request's keys are cut into spans, which are computed apart and merged by their log-sum-exp (Milakov and Gimelshein
// 2018), so that one long context keeps all threads busy. Within a span:
//
//     scores [heads, keys] = queries . key rows of the cache        dots, a key row read once for all heads
//     out [heads, width]  += weights [heads, keys] . value rows     pairs of keys, turned so that each lane is a column

constexpr int64_t KEYS = 64;  // of one block within a span
constexpr int64_t LEAST_SPAN = 32;

// What heads that share keys and values read of a cached token.
struct Part {
    int64_t key, key_width, value, value_width;  // first value and width of each
};

// A running softmax: out / total is the attention so far, both relative to exp(peak).
struct Running {
    float* peak;   // [heads]
    float* total;  // [heads]
    float* out;    // [heads, value_width padded]
};

#if ABRUZZI_BF16
// out[h][0 ... 32) += weights of a pair of keys . their values, for all pairs, which lie one after another.
template <int H>
static inline void weigh(const bf16* values, int64_t pairs, const bf16* weights, float* out, int64_t out_stride) {
    __m512 totals[H][2];
    for (int h = 0; h < H; h++)
        for (int i = 0; i < 2; i++) totals[h][i] = _mm512_loadu_ps(out + h * out_stride + i * 16);
    for (int64_t pair = 0; pair < pairs; pair++) {
        const __m512bh low = (__m512bh)_mm512_loadu_si512(values + pair * 64);
        const __m512bh high = (__m512bh)_mm512_loadu_si512(values + pair * 64 + 32);
        for (int h = 0; h < H; h++) {
            int32_t both;
            std::memcpy(&both, weights + h * KEYS + pair * 2, 4);
            const __m512bh weight = (__m512bh)_mm512_set1_epi32(both);
            totals[h][0] = _mm512_dpbf16_ps(totals[h][0], low, weight);
            totals[h][1] = _mm512_dpbf16_ps(totals[h][1], high, weight);
        }
    }
    for (int h = 0; h < H; h++)
        for (int i = 0; i < 2; i++) _mm512_storeu_ps(out + h * out_stride + i * 16, totals[h][i]);
}

// Pairs of up to KEYS keys side by side: for each 32 columns, `block` apart, and each pair values a and b as
// a0 b0 a1 b1 ... What is multiplied together lies together: at the distance of whole rows it would meet in a few sets of
// the first cache.
static inline void interleave(const bf16* const* keys, int64_t count, int64_t offset, int64_t width, Input* to,
                              int64_t block) {
    const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                           37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    for (int64_t pair = 0; pair < padded(count) / 2; pair++) {
        for (int64_t column = 0; column < width; column += 32) {
            const __mmask32 mask = width - column >= 32 ? ~0u : (1u << (width - column)) - 1;
            const __mmask32 one = 2 * pair < count ? mask : 0, two = 2 * pair + 1 < count ? mask : 0;
            const __m512i a = one ? _mm512_maskz_loadu_epi16(one, keys[2 * pair] + offset + column) : _mm512_setzero_si512();
            const __m512i b = two ? _mm512_maskz_loadu_epi16(two, keys[2 * pair + 1] + offset + column) : _mm512_setzero_si512();
            Input* place = to + column / 32 * block + pair * 64;
            _mm512_storeu_si512(place, _mm512_permutex2var_epi16(a, first, b));
            _mm512_storeu_si512(place + 32, _mm512_permutex2var_epi16(a, second, b));
        }
    }
}

static inline void add_values(const bf16* const* keys, int64_t count, const Part& part, int64_t heads,
                              const Input* weights, float* out) {
    const int64_t width = padded(part.value_width);
    constexpr int64_t BLOCK = KEYS * 32 + 32;  // a line more than the values, so that blocks begin in different sets
    Input* memory = scratch(width / 32 * BLOCK);
    interleave(keys, count, part.value, part.value_width, memory, BLOCK);
    const int64_t pairs = (count + 1) / 2;
    for (int64_t column = 0; column < width; column += 32) {
        const Input* values = memory + column / 32 * BLOCK;
        int64_t h = 0;
        for (; h + 8 <= heads; h += 8) weigh<8>(values, pairs, weights + h * KEYS, out + h * width + column, width);
        for (; h + 2 <= heads; h += 2) weigh<2>(values, pairs, weights + h * KEYS, out + h * width + column, width);
        for (; h < heads; h++) weigh<1>(values, pairs, weights + h * KEYS, out + h * width + column, width);
    }
}
#else
static inline void add_values(const bf16* const* keys, int64_t count, const Part& part, int64_t heads,
                              const Input* weights, float* out) {
    const int64_t width = padded(part.value_width), whole = part.value_width / LANES * LANES;
    for (int64_t h = 0; h < heads; h++) {
        float* to = out + h * width;
        for (int64_t k = 0; k < count; k++) {
            const bf16* value = keys[k] + part.value;
            const float weight = weights[h * KEYS + k];
            for (int64_t i = 0; i < whole; i += LANES) store(to + i, load(to + i) + load(value + i) * weight);
            for (int64_t i = whole; i < part.value_width; i++) to[i] += to_float(value[i]) * weight;
        }
    }
}
#endif

static inline void to_inputs(const float* from, int64_t count, Input* to) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store(to + i, load(from + i));
    for (; i < count; i++) to[i] = as_input(from[i]);
}

// Adds up to KEYS keys to the running softmax of some heads. Rows of keys are addressed one by one: blocks lie anywhere.
static void attend(const bf16* const* keys, int64_t count, const Part& part, const Input* const* queries, int64_t heads,
                   float scale, const Running& running) {
    static thread_local std::vector<float> score_memory;
    static thread_local std::vector<Input> weight_memory;
    score_memory.resize(size_t(heads * KEYS));
    weight_memory.assign(size_t(heads * KEYS), Input(0));
    float* scores = score_memory.data();
    for (int64_t k = 0; k < count; k += DOT_ROWS) {
        Row rows[DOT_ROWS];
        for (int64_t r = 0; r < DOT_ROWS; r++)
            rows[r] = {reinterpret_cast<const uint8_t*>(keys[std::min(k + r, count - 1)] + part.key), nullptr, false};
        dot_rows<PlainFormat>(rows, part.key_width, queries, int(heads), [&](int r, int h, float value) {
            if (k + r < count) scores[h * KEYS + k + r] = value * scale;
        });
    }
    const int64_t width = padded(part.value_width);
    for (int64_t h = 0; h < heads; h++) {
        float* score = scores + h * KEYS;
        const float peak = std::max(running.peak[h], *std::max_element(score, score + count));
        const float kept = std::exp(running.peak[h] - peak);
        for (int64_t k = count; k < KEYS; k++) score[k] = -INFINITY;
        Floats total = {};
        for (int64_t k = 0; k < KEYS; k += LANES) {
            Floats weight = exponential(load(score + k) - peak);
            for (int64_t i = 0; i < LANES && count < KEYS; i++)
                if (k + i >= count) weight[i] = 0;
            total += weight;
            store(score + k, weight);
        }
        to_inputs(score, count, &weight_memory[size_t(h * KEYS)]);
        running.total[h] = running.total[h] * kept + sum(total);
        running.peak[h] = peak;
        if (kept != 1.0f) {
            float* out = running.out + h * width;
            for (int64_t i = 0; i < width; i += LANES) store(out + i, load(out + i) * kept);
        }
    }
    add_values(keys, count, part, heads, weight_memory.data(), running.out);
}

// Partial results of all requests, heads and spans. One at a time: its memory is kept.
struct Spans {
    int64_t count, length, heads, width;
    std::vector<float>&peak = memory(0), &total = memory(1), &out = memory(2);

    static std::vector<float>& memory(int which) {
        static thread_local std::vector<float> kept[3];
        return kept[which];
    }

    Spans(const Decode& decode, int64_t heads, int64_t value_width) : heads(heads), width(padded(value_width)) {
        int64_t longest = 1;
        for (int64_t a = 0; a < decode.requests; a++) longest = std::max(longest, decode.lengths[a]);
        const int64_t wanted = std::max<int64_t>(4 * Pool::shared().size() / decode.requests, 1);
        length = std::max((longest + wanted - 1) / wanted, LEAST_SPAN);
        count = (longest + length - 1) / length;
        const size_t all = size_t(decode.requests * count * heads);
        if (peak.size() >= all && out.size() >= all * size_t(width)) return;
        peak.resize(all);
        total.resize(all);
        out.resize(all * size_t(width));
    }
    // Nothing so far, for some heads of a span.
    void clear(int64_t request, int64_t span, int64_t head, int64_t count) {
        const Running first = at(request, span, head);
        std::fill(first.peak, first.peak + count, -INFINITY);
        std::fill(first.total, first.total + count, 0.0f);
        std::fill(first.out, first.out + count * width, 0.0f);
    }
    Running at(int64_t request, int64_t span, int64_t head) {
        const size_t place = size_t((request * count + span) * heads + head);
        return {&peak[place], &total[place], &out[place * size_t(width)]};
    }
    // The merged attention of one head, `width` values.
    void merge(int64_t request, int64_t head, float* to) {
        float best = -INFINITY, sum = 0;
        for (int64_t s = 0; s < count; s++) best = std::max(best, *at(request, s, head).peak);
        for (int64_t i = 0; i < width; i++) to[i] = 0;
        for (int64_t s = 0; s < count; s++) {
            const Running part = at(request, s, head);
            if (*part.total == 0) continue;  // a span beyond this request's keys
            const float share = std::exp(*part.peak - best);
            sum += *part.total * share;
            for (int64_t i = 0; i < width; i += LANES) store(to + i, load(to + i) + load(part.out + i) * share);
        }
        for (int64_t i = 0; i < width; i += LANES) store(to + i, load(to + i) / sum);
    }
};

// All keys of all requests, for `groups` groups of heads that share keys; part_of(group) says what they read, and
// queries are [requests, heads] rows.
template <class PartOf>
static void attend_all(const Decode& decode, const Cache& cache, int64_t groups, const PartOf& part_of,
                       const Input* const* queries, Spans& spans) {
    const int64_t shared = decode.heads / groups;
    Pool::shared().each(int(decode.requests * spans.count * groups), [&](int item) {
        const int64_t group = item % groups, span = item / groups % spans.count, a = item / groups / spans.count;
        const int64_t last = std::min((span + 1) * spans.length, decode.lengths[a]);
        const int64_t* table = decode.table + a * decode.table_stride;
        spans.clear(a, span, group * shared, shared);
        for (int64_t first = span * spans.length; first < last; first += KEYS) {
            const int64_t count = std::min(KEYS, last - first);
            const bf16* keys[KEYS];
            for (int64_t k = 0; k < count; k++) {
                const int64_t place = first + k;  // token p of a request: block p / size of its table, offset p % size
                keys[k] = cache.data + (table[place / cache.block_size] * cache.block_size + place % cache.block_size) *
                                           cache.width;
            }
            attend(keys, count, part_of(group), queries + a * decode.heads + group * shared, shared, decode.scale,
                   spans.at(a, span, group * shared));
        }
    });
}

// sums [latent] = q . up_k of one head, whose rows are summed with the weights q: for few requests. Four rows at a time, in
// the order of the memory.
static inline void absorb_one(const bf16* q, const bf16* up_k, int64_t nope, int64_t latent, float* sums) {
    constexpr int64_t ROWS = 4;
    const int64_t whole = latent / LANES * LANES;
    std::fill(sums, sums + latent, 0.0f);
    for (int64_t first = 0; first < nope; first += ROWS) {
        const bf16* rows[ROWS];
        float factors[ROWS];
        for (int64_t r = 0; r < ROWS; r++) {
            const bool exists = first + r < nope;
            rows[r] = up_k + (exists ? first + r : first) * latent;
            factors[r] = exists ? to_float(q[first + r]) : 0.0f;
        }
        for (int64_t i = 0; i < whole; i += LANES) {
            Floats total = load(sums + i);
            for (int64_t r = 0; r < ROWS; r++) {
                if (i % 32 == 0) __builtin_prefetch(rows[r] + i + PREFETCH_BYTES / 4, 0, SECOND_CACHE);
                total += load(rows[r] + i) * factors[r];
            }
            store(sums + i, total);
        }
        for (int64_t i = whole; i < latent; i++)
            for (int64_t r = 0; r < ROWS; r++) sums[i] += to_float(rows[r][i]) * factors[r];
    }
}

constexpr int64_t ABSORB_TOGETHER = 3;  // requests from which turning the rows pays

// The same for all requests, sums [requests, latent padded]: rows of up_k are to q what values are to weights.
static inline void absorb(const bf16* q, int64_t stride, int64_t requests, const bf16* up_k, int64_t nope,
                          int64_t latent, float* sums) {
    if (requests < ABSORB_TOGETHER) {
        for (int64_t a = 0; a < requests; a++)
            absorb_one(q + a * stride, up_k, nope, latent, sums + a * padded(latent));
        return;
    }
    static thread_local std::vector<Input> weights;
    weights.assign(size_t(requests * KEYS), Input(0));
    std::fill(sums, sums + requests * padded(latent), 0.0f);
    for (int64_t first = 0; first < nope; first += KEYS) {
        const int64_t count = std::min(KEYS, nope - first);
        const bf16* rows[KEYS];
        for (int64_t n = 0; n < count; n++) rows[n] = up_k + (first + n) * latent;
        for (int64_t a = 0; a < requests; a++)
            for (int64_t n = 0; n < KEYS; n++)
                weights[size_t(a * KEYS + n)] = n < count ? as_input(to_float(q[a * stride + first + n])) : Input(0);
        add_values(rows, count, Part{0, 0, 0, latent}, requests, weights.data(), sums);
    }
}

// Latent attention in the absorbed form: see mla_decode in reference_attention.py. up_k [heads, nope, latent], up_v
// [heads, value, latent]; query rows [heads * (nope + rotary)]; out [requests, heads, value], dense.
static void mla_decode(const Decode& decode, Cache cache, Rows query, const bf16* up_k, const bf16* up_v, int64_t nope,
                       int64_t rotary, int64_t value, bf16* out) {
    const int64_t latent = cache.width - rotary, stride = padded(cache.width), heads = decode.heads;
    static thread_local std::vector<Input> absorbed_memory;
    absorbed_memory.assign(size_t(decode.requests * heads * stride), Input(0));
    Input* const absorbed = absorbed_memory.data();
    Pool::shared().each(int(heads), [&](int h) {
        static thread_local std::vector<float> sums;
        sums.resize(size_t(decode.requests * padded(latent)));
        const bf16* first = query.data + h * (nope + rotary);
        absorb(first, query.stride, decode.requests, up_k + h * nope * latent, nope, latent, sums.data());
        for (int64_t a = 0; a < decode.requests; a++) {
            const float* from = &sums[size_t(a * padded(latent))];
            Input* to = absorbed + (a * heads + h) * stride;
            to_inputs(from, latent, to);
            for (int64_t i = 0; i < rotary; i++) to[latent + i] = as_input(to_float(first[a * query.stride + nope + i]));
        }
    });
    std::vector<const Input*> queries(size_t(decode.requests * heads));
    for (size_t i = 0; i < queries.size(); i++) queries[i] = absorbed + i * size_t(stride);
    Spans spans(decode, heads, latent);
    const Part all = {0, cache.width, 0, latent};
    attend_all(decode, cache, 1, [&](int64_t) { return all; }, queries.data(), spans);
    Pool::shared().each(int(heads), [&](int h) {
        static thread_local std::vector<Input> rows;
        static thread_local std::vector<float> merged;
        const int64_t width = padded(latent);
        rows.assign(size_t(decode.requests * width), Input(0));
        merged.resize(size_t(width));
        std::vector<const Input*> inputs(size_t(decode.requests));
        for (int64_t a = 0; a < decode.requests; a++) {
            spans.merge(a, h, merged.data());
            inputs[size_t(a)] = &rows[size_t(a * width)];
            to_inputs(merged.data(), latent, &rows[size_t(a * width)]);
        }
        const Matrix matrix = {up_v + h * value * latent, nullptr, value, latent, PLAIN, 0};
        for (int64_t first = 0; first < value; first += DOT_ROWS) {
            Row weights[DOT_ROWS];
            for (int64_t r = 0; r < DOT_ROWS; r++)
                weights[r] = PlainFormat::row(matrix, std::min(first + r, value - 1));
            dot_rows<PlainFormat>(weights, latent, inputs.data(), int(decode.requests), [&](int r, int a, float result) {
                if (first + r < value) out[(a * heads + h) * value + first + r] = to_bf16(result);
            });
        }
    });
}

// Grouped-query attention: see gqa_decode in reference_attention.py. out [requests, heads, width], dense.
static void gqa_decode(const Decode& decode, Cache cache, Rows query, int64_t kv_heads, bf16* out) {
    const int64_t width = cache.width / (2 * kv_heads), heads = decode.heads, stride = padded(width);
    std::vector<Input> memory(size_t(decode.requests * heads * stride), Input(0));
    std::vector<const Input*> queries(size_t(decode.requests * heads));
    for (int64_t a = 0; a < decode.requests; a++)
        for (int64_t h = 0; h < heads; h++) {
            Input* to = &memory[size_t((a * heads + h) * stride)];
            queries[size_t(a * heads + h)] = to;
            const bf16* from = query.data + a * query.stride + h * width;
            for (int64_t i = 0; i < width; i++) to[i] = as_input(to_float(from[i]));
        }
    Spans spans(decode, heads, width);
    const auto part = [&](int64_t group) { return Part{group * width, width, (kv_heads + group) * width, width}; };
    attend_all(decode, cache, kv_heads, part, queries.data(), spans);
    Pool::shared().each(int(decode.requests * heads), [&](int item) {
        static thread_local std::vector<float> merged;
        merged.resize(size_t(spans.width));
        spans.merge(item / heads, item % heads, merged.data());
        for (int64_t i = 0; i < width; i += LANES) store_some(out + item * width + i, load(&merged[size_t(i)]), width - i);
    });
}
