// Norms, rotation and routing: little work for each token. Included inside an instruction set's namespace.

// to = x / rms(x) * weight, of `width` values.
static inline void norm_row(const bf16* x, const bf16* weight, int64_t width, float eps, bf16* to) {
    const int64_t whole = width / LANES * LANES;
    Floats squares = {};
    for (int64_t i = 0; i < whole; i += LANES) {
        const Floats values = load(x + i);
        squares += values * values;
    }
    float total = sum(squares);
    for (int64_t i = whole; i < width; i++) total += to_float(x[i]) * to_float(x[i]);
    const float factor = 1.0f / std::sqrt(total / float(width) + eps);
    for (int64_t i = 0; i < whole; i += LANES) store(to + i, load(x + i) * factor * load(weight + i));
    for (int64_t i = whole; i < width; i++) to[i] = to_bf16(to_float(x[i]) * factor * to_float(weight[i]));
}

// Calls body(token) for all tokens: on this thread where there are few.
template <class Body>
static inline void each_token(int64_t tokens, int64_t width, const Body& body) {
    const int64_t step = std::max<int64_t>(32768 / width, 1);
    Pool::shared().each(int((tokens + step - 1) / step), [&](int item) {
        for (int64_t t = item * step; t < std::min((item + 1) * step, tokens); t++) body(t);
    });
}

static void rms_norm(Rows x, int64_t tokens, int64_t width, const bf16* weight, float eps, Rows out) {
    each_token(tokens, width, [&](int64_t t) {
        norm_row(x.data + t * x.stride, weight, width, eps, out.data + t * out.stride);
    });
}

static inline void add_row(const bf16* a, const bf16* b, int64_t width, bf16* to) {
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) store(to + i, load(a + i) + load(b + i));
    for (; i < width; i++) to[i] = to_bf16(to_float(a[i]) + to_float(b[i]));
}

// sums = x + delta, out = its norm.
static void add_rms_norm(Rows x, Rows delta, int64_t tokens, int64_t width, const bf16* weight, float eps, Rows sums,
                         Rows out) {
    each_token(tokens, width, [&](int64_t t) {
        bf16* to = sums.data + t * sums.stride;
        add_row(x.data + t * x.stride, delta.data + t * delta.stride, width, to);
        norm_row(to, weight, width, eps, out.data + t * out.stride);
    });
}

// out = a + b.
static void add(Rows a, Rows b, int64_t tokens, int64_t width, Rows out) {
    each_token(tokens, width, [&](int64_t t) {
        add_row(a.data + t * a.stride, b.data + t * b.stride, width, out.data + t * out.stride);
    });
}

// e to the power of x, less 1 and x, for x up to 0: the difference would cancel near 0, where the series is short.
static inline Floats exponential_beyond_linear(Floats x) {
    Floats series = splat(1.0f / 3628800);
    for (float factor : {1.0f / 362880, 1.0f / 40320, 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f})
        series = series * x + factor;
    return x > splat(-0.5f) ? series * x * x : exponential(x) - 1.0f - x;
}

static inline float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

// See xielu in reference.py.
static void xielu(Rows x, int64_t tokens, int64_t width, const bf16* alpha_p, const bf16* alpha_n, Rows out) {
    const float positive = softplus(to_float(*alpha_p)), negative = 0.5f + softplus(to_float(*alpha_n));
    each_token(tokens, width, [&](int64_t t) {
        const bf16* from = x.data + t * x.stride;
        bf16* to = out.data + t * out.stride;
        for (int64_t i = 0; i < width; i += LANES) {
            Floats values = {};
            if (i + LANES <= width)
                values = load(from + i);
            else
                for (int64_t j = i; j < width; j++) values[j - i] = to_float(from[j]);
            const Floats zero = {};
            const Floats below = values < zero ? values : zero;
            const Floats curve =
                values > zero ? positive * values * values : negative * exponential_beyond_linear(below);
            store_some(to + i, curve + 0.5f * values, width - i);
        }
    });
}

// Rotates `width` values by the complex numbers `turns`. Pairs lie side by side in the result; in x too where
// `interleaved`, else half of the width apart.
static inline void rotate(const bf16* x, const float* turns, int64_t width, bool interleaved, bf16* to) {
    for (int64_t pair = 0; pair < width / 2; pair++) {
        const float a = to_float(interleaved ? x[2 * pair] : x[pair]);
        const float b = to_float(interleaved ? x[2 * pair + 1] : x[pair + width / 2]);
        const float cosine = turns[2 * pair], sine = turns[2 * pair + 1];
        to[2 * pair] = to_bf16(a * cosine - b * sine);
        to[2 * pair + 1] = to_bf16(a * sine + b * cosine);
    }
}

// Latent attention: see mla_store in reference_attention.py. out: queries [tokens, heads, nope + rotary], dense.
static void mla_store(Rows query, Rows latent, Rows key, int64_t tokens, int64_t heads, int64_t nope, int64_t rotary,
                      const bf16* norm, float eps, const float* turns, bool interleaved, Cache cache,
                      const int64_t* slots, bf16* out) {
    const int64_t width = nope + rotary, latents = cache.width - rotary;
    each_token(tokens, heads * width, [&](int64_t t) {
        const float* turn = turns + t * rotary;
        for (int64_t head = 0; head < heads; head++) {
            const bf16* from = query.data + t * query.stride + head * width;
            bf16* to = out + (t * heads + head) * width;
            std::memcpy(to, from, size_t(nope) * 2);
            rotate(from + nope, turn, rotary, interleaved, to + nope);
        }
        bf16* cached = cache.data + slots[t] * cache.width;
        norm_row(latent.data + t * latent.stride, norm, latents, eps, cached);
        rotate(key.data + t * key.stride, turn, rotary, interleaved, cached + latents);
    });
}

// Grouped-query attention: see gqa_store in reference_attention.py. out: queries [tokens, heads, width], dense.
static void gqa_store(Rows query, Rows key, Rows value, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t width,
                      const bf16* q_norm, const bf16* k_norm, float eps, const float* turns, bool interleaved,
                      Cache cache, const int64_t* slots, bf16* out) {
    each_token(tokens, (heads + kv_heads) * width, [&](int64_t t) {
        static thread_local std::vector<bf16> normalised;
        normalised.resize(size_t(width));
        const float* turn = turns + t * width;
        bf16* cached = cache.data + slots[t] * cache.width;
        for (int64_t head = 0; head < heads + kv_heads; head++) {
            const bool is_key = head >= heads;
            const Rows& from = is_key ? key : query;
            const int64_t place = is_key ? head - heads : head;
            norm_row(from.data + t * from.stride + place * width, is_key ? k_norm : q_norm, width, eps,
                     normalised.data());
            bf16* to = is_key ? cached + place * width : out + (t * heads + place) * width;
            rotate(normalised.data(), turn, width, interleaved, to);
        }
        std::memcpy(cached + kv_heads * width, value.data + t * value.stride, size_t(kv_heads * width) * 2);
    });
}

static inline float dot_floats(const float* a, const float* b, int64_t width) {
    Floats totals[4] = {};
    int64_t i = 0;
    for (; i + 4 * LANES <= width; i += 4 * LANES)
        for (int j = 0; j < 4; j++) totals[j] += load(a + i + j * LANES) * load(b + i + j * LANES);
    float total = sum((totals[0] + totals[1]) + (totals[2] + totals[3]));
    for (; i < width; i++) total += a[i] * b[i];
    return total;
}

// The places of the `count` largest scores into `ids`, largest first; ties go to the lower place. Any scores, NaN too,
// give `count` different places.
static inline void largest(const float* scores, int64_t size, int64_t count, int64_t* ids) {
    int64_t held = 0;
    for (int64_t e = 0; e < size; e++) {
        if (held == count && !(scores[e] > scores[ids[count - 1]])) continue;
        int64_t place = held < count ? held++ : count - 1;
        for (; place > 0 && scores[e] > scores[ids[place - 1]]; place--) ids[place] = ids[place - 1];
        ids[place] = e;
    }
}

// Hides the scores of all groups but the kept ones, which have the largest sums of their two best.
static inline void keep_groups(const Router& router, float* choice) {
    const int64_t size = router.experts / router.groups;
    std::vector<float> sums(size_t(router.groups), 0.0f);
    for (int64_t g = 0; g < router.groups; g++) {
        int64_t two[2];
        largest(choice + g * size, size, 2, two);
        sums[size_t(g)] = choice[g * size + two[0]] + choice[g * size + two[1]];
    }
    std::vector<int64_t> kept(size_t(router.groups_kept), 0);
    largest(sums.data(), router.groups, router.groups_kept, kept.data());
    for (int64_t g = 0; g < router.groups; g++)
        if (std::find(kept.begin(), kept.end(), g) == kept.end())
            std::fill(choice + g * size, choice + (g + 1) * size, -INFINITY);
}

// See route and route_softmax in reference.py.
static void route(const Router& router, Rows x, int64_t tokens, float* weights, int64_t* ids) {
    const int64_t experts = router.experts, hidden = router.hidden;
    std::vector<float> memory(size_t(tokens * (experts + hidden)));
    float *scores = memory.data(), *inputs = scores + tokens * experts;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < hidden; i++) inputs[t * hidden + i] = to_float(x.data[t * x.stride + i]);
    const int64_t step = std::max<int64_t>(DOT_BYTES / (hidden * 4), 1);
    Pool::shared().each(int((experts + step - 1) / step), [&](int item) {
        for (int64_t e = item * step; e < std::min((item + 1) * step, experts); e++)
            for (int64_t t = 0; t < tokens; t++)
                scores[t * experts + e] = dot_floats(inputs + t * hidden, router.gate + e * hidden, hidden);
    });
    each_token(tokens, experts * router.per_token, [&](int64_t t) {
        float* score = scores + t * experts;
        int64_t* chosen = ids + t * router.per_token;
        float* weight = weights + t * router.per_token;
        if (router.bias) {
            std::vector<float> choice(size_t(experts), 0.0f);
            for (int64_t e = 0; e < experts; e++) {
                score[e] = 1.0f / (1.0f + std::exp(-score[e]));
                choice[size_t(e)] = score[e] + router.bias[e];
            }
            if (router.groups > 1) keep_groups(router, choice.data());
            largest(choice.data(), experts, router.per_token, chosen);
        } else {
            const float peak = *std::max_element(score, score + experts);
            float total = 0;
            for (int64_t e = 0; e < experts; e++) total += score[e] = std::exp(score[e] - peak);
            for (int64_t e = 0; e < experts; e++) score[e] /= total;
            largest(score, experts, router.per_token, chosen);
        }
        float total = router.bias ? 1e-20f : 0.0f;
        for (int64_t k = 0; k < router.per_token; k++) total += weight[k] = score[chosen[k]];
        const float factor = (router.normalize ? 1.0f / total : 1.0f) * router.scale;
        for (int64_t k = 0; k < router.per_token; k++) weight[k] *= factor;
    });
}
