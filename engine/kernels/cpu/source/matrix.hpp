// Rows of matrices in every format, and products with them. Included inside an instruction set's namespace.
//
// Two ways to multiply rows of weights with tokens, both reading each weight once for all tokens at hand:
//
//     dots     few tokens: sums along the columns in vectors, which are added up at the end
//     panels   many tokens: 2 * LANES rows are turned so that a vector holds one column (or pair of columns) of LANES
//              rows, which meets a token's value in every lane
//
//              row 0   | a0 a1 a2 ...                 column pair 0: a0a1 b0b1 c0c1 ...
//              row 1   | b0 b1 b2 ...     becomes     column pair 1: a2a3 b2b3 c2c3 ...
//              row 2   | c0 c1 c2 ...
//
// Inputs are bfloat16 where the processor multiplies those, else float; their rows are padded to whole groups.

#if ABRUZZI_BF16
using Input = bf16;
static inline Input as_input(float value) { return to_bf16(value); }
struct Group {
    __m512bh values;
};
static inline Group inputs(const Input* from) { return {(__m512bh)_mm512_loadu_si512(from)}; }
static inline void accumulate(Floats& total, const Group& a, const Group& b) {
    total = Floats(_mm512_dpbf16_ps(__m512(total), a.values, b.values));
}
static inline Group from_floats(Floats low, Floats high) {
    return {_mm512_cvtne2ps_pbh(__m512(high), __m512(low))};
}

// Whole numbers and the scale that they share: the product is scaled, not each number, which bfloat16 holds exactly.
struct ScaledGroup {
    __m512bh values;
    __m512 scale;
};
static inline void accumulate(Floats& total, const ScaledGroup& a, const Group& b) {
    const __m512 product = _mm512_dpbf16_ps(_mm512_setzero_ps(), a.values, b.values);
    total = Floats(_mm512_fmadd_ps(product, a.scale, __m512(total)));
}
#else
using Input = float;
static inline Input as_input(float value) { return value; }
struct Group {
    Floats values[VECTORS];
};
static inline Group inputs(const Input* from) {
    Group group;
    for (int i = 0; i < VECTORS; i++) group.values[i] = load(from + i * LANES);
    return group;
}
static inline void accumulate(Floats& total, const Group& a, const Group& b) {
    for (int i = 0; i < VECTORS; i++) total += a.values[i] * b.values[i];
}
#endif

static inline int64_t padded(int64_t columns) { return (columns + GROUP - 1) / GROUP * GROUP; }

struct Row {
    const uint8_t* values;
    const uint8_t* scale;
    bool scale_is_float;

#if ABRUZZI_BF16
    __m512 group_scales(int64_t index) const {
        if (scale_is_float) return _mm512_set1_ps(reinterpret_cast<const float*>(scale)[index]);
        const int16_t half = reinterpret_cast<const int16_t*>(scale)[index];
        return __m512(_mm512_slli_epi32(_mm512_set1_epi16(half), 16));
    }
#endif

    float group_scale(int64_t index) const {
        return scale_is_float ? reinterpret_cast<const float*>(scale)[index]
                              : to_float(reinterpret_cast<const bf16*>(scale)[index]);
    }
};

// A format: bytes of so many columns, scales of a row, and how to load one group.
struct PlainFormat {
    static int64_t bytes(int64_t columns) { return columns * 2; }
    static Row row(const Matrix& matrix, int64_t index) {
        return {static_cast<const uint8_t*>(matrix.values) + index * bytes(matrix.columns), nullptr, false};
    }
    static Group group(const Row& row, int64_t column) {
        const bf16* from = reinterpret_cast<const bf16*>(row.values) + column;
#if ABRUZZI_BF16
        return inputs(from);
#else
        Group group;
        for (int i = 0; i < VECTORS; i++) group.values[i] = load(from + i * LANES);
        return group;
#endif
    }
};

#if ABRUZZI_BF16
template <class Vector>  // a function that makes the vector of LANES values at an index
static inline Group scaled(float scale, Vector vector) {
    return from_floats(vector(0) * scale, vector(1) * scale);
}
#else
template <class Vector>
static inline Group scaled(float scale, Vector vector) {
    Group group;
    for (int i = 0; i < VECTORS; i++) group.values[i] = vector(i) * scale;
    return group;
}
#endif

struct Int8Format {
    static int64_t bytes(int64_t columns) { return columns; }
    static Row row(const Matrix& matrix, int64_t index) {
        const int64_t scale_bytes = matrix.columns / GROUP * (matrix.scale_is_float ? 4 : 2);
        return {static_cast<const uint8_t*>(matrix.values) + index * matrix.columns,
                static_cast<const uint8_t*>(matrix.scale) + index * scale_bytes, bool(matrix.scale_is_float)};
    }
    static Group group(const Row& row, int64_t column) {
        const uint8_t* from = row.values + column;
        return scaled(row.group_scale(column / GROUP), [from](int i) {
            return __builtin_convertvector(widen(reinterpret_cast<const int8_t*>(from) + i * LANES), Floats);
        });
    }
};

struct Int4Format {
    static int64_t bytes(int64_t columns) { return columns / 2; }
    static Row row(const Matrix& matrix, int64_t index) {
        const int64_t scale_bytes = matrix.columns / GROUP * (matrix.scale_is_float ? 4 : 2);
        return {static_cast<const uint8_t*>(matrix.values) + index * (matrix.columns / 2),
                static_cast<const uint8_t*>(matrix.scale) + index * scale_bytes, bool(matrix.scale_is_float)};
    }
    static Group group(const Row& row, int64_t column) {
        const uint8_t* from = row.values + column / 2;
#if ABRUZZI_BF16
        const __m512 steps = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
        return {look_up(from, _mm512_mul_ps(steps, row.group_scales(column / GROUP)))};
#else
        return scaled(row.group_scale(column / GROUP), [from](int i) {
            const int32_t* words = reinterpret_cast<const int32_t*>(from) + i * LANES / 8;
            Ints nibbles;
            for (int lane = 0; lane < LANES; lane++) {
                const int place = i * LANES % 8 + lane;
                nibbles[lane] = (words[place / 8] >> (place % 8 * 4)) & 15;
            }
            return __builtin_convertvector(nibbles - 8, Floats);
        });
#endif
    }
#if ABRUZZI_BF16
    // The sixteen values that a nibble can mean, as bfloat16, are looked up by the nibbles themselves: byte j, widened to
    // 32 bits, becomes two 16-bit indices, its low and its high nibble. Of an index five bits count, so the table is
    // there twice.
    static __m512bh look_up(const uint8_t* from, __m512 meanings) {
        const __m256i sixteen = (__m256i)_mm512_cvtneps_pbh(meanings);
        const __m512i table = _mm512_inserti64x4(_mm512_castsi256_si512(sixteen), sixteen, 1);
        const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        const __m512i indices = _mm512_or_si512(wide, _mm512_slli_epi32(wide, 12));
        return (__m512bh)_mm512_permutexvar_epi16(indices, table);
    }
    static ScaledGroup dot_group(const Row& row, int64_t column) {
        const __m512 steps = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
        return {look_up(row.values + column / 2, steps), row.group_scales(column / GROUP)};
    }
#endif
};

struct Fp8Format {
    static constexpr int64_t BLOCK = 128;
    static int64_t bytes(int64_t columns) { return columns; }
    static Row row(const Matrix& matrix, int64_t index) {
        const int64_t blocks = (matrix.columns + BLOCK - 1) / BLOCK;
        return {static_cast<const uint8_t*>(matrix.values) + index * matrix.columns,
                static_cast<const uint8_t*>(matrix.scale) + index / BLOCK * blocks * 4, true};
    }
    // e4m3's sign, exponent and mantissa, put where float32 has them, are the value times 2 to the power of -120;
    // numbers below the normal range come out right as well. Its one NaN has all seven bits set.
    static Group group(const Row& row, int64_t column) {
        const uint8_t* from = row.values + column;
        const float scale = row.group_scale(column / BLOCK);
        return scaled(scale, [from](int i) {
            const Words wide = widen(from + i * LANES);
            const Words number = wide & 0x7f;
            const Ints is_nan = number == 0x7f;
            const Words bits = (number << 20) | ((wide & 0x80) << 24) | (reinterpret_cast<Words>(is_nan) & 0x7fc00000);
            return reinterpret_cast<Floats>(bits) * 0x1p120f;
        });
    }
};

// The group at `column` of which only `columns - column` exist: the others are 0.
template <class F>
static inline Group last_group(const Row& row, int64_t column, int64_t columns) {
    alignas(64) uint8_t copy[GROUP * 2] = {};
    std::memcpy(copy, row.values + F::bytes(column), F::bytes(columns - column));
    Row moved = row;
    moved.values = copy - F::bytes(column);
    return F::group(moved, column);
}

// How far ahead of the loads weights are asked for, across rows, since what follows a row is the next one. Into the
// second cache: asked into the first, short rows (1 KB) are read at less than half the speed (docs/performance.md).
constexpr int64_t PREFETCH_BYTES = 8192;
constexpr int SECOND_CACHE = 2;
constexpr int64_t PACK_AHEAD = 1024;  // the same within each of many rows

// A group as dots take it: apart from its scale where that is faster.
template <class F>
static inline auto dot_group(const Row& row, int64_t column) {
    if constexpr (requires { F::dot_group(row, column); })
        return F::dot_group(row, column);
    else
        return F::group(row, column);
}

constexpr int DOT_ROWS = 4;
constexpr int DOT_TOKENS = LANES == 16 ? 4 : 2;

// The same for one input: row after row, since memory is read faster in its order.
template <class F>
static inline void dots_of_one(const Row* rows, int64_t columns, const Input* x, float* out) {
    Floats totals[DOT_ROWS];
    const int64_t whole = columns / GROUP * GROUP;
    for (int r = 0; r < DOT_ROWS; r++) {
        Floats even = {}, odd = {};
        const auto add = [&](Floats& total, int64_t column) {
            __builtin_prefetch(rows[r].values + F::bytes(column) + PREFETCH_BYTES, 0, SECOND_CACHE);
            accumulate(total, dot_group<F>(rows[r], column), inputs(x + column));
        };
        int64_t column = 0;
        for (; column + 2 * GROUP <= whole; column += 2 * GROUP) add(even, column), add(odd, column + GROUP);
        if (column < whole) add(even, column);
        if (whole < columns) accumulate(odd, last_group<F>(rows[r], whole, columns), inputs(x + whole));
        totals[r] = even + odd;
    }
    sum_four(totals[0], totals[1], totals[2], totals[3], out);
}

// out[t][r] = row r . input t, for rows of `columns` values.
template <class F, int T>
static inline void dots(const Row* rows, int64_t columns, const Input* const* x, float (*out)[DOT_ROWS]) {
    Floats totals[DOT_ROWS][T] = {};
    const int64_t whole = columns / GROUP * GROUP;
    for (int64_t column = 0; column < whole; column += GROUP) {
        decltype(dot_group<F>(rows[0], 0)) weights[DOT_ROWS];
        for (int r = 0; r < DOT_ROWS; r++) {
            __builtin_prefetch(rows[r].values + F::bytes(column) + PREFETCH_BYTES, 0, SECOND_CACHE);
            weights[r] = dot_group<F>(rows[r], column);
        }
        for (int t = 0; t < T; t++) {
            const Group input = inputs(x[t] + column);
            for (int r = 0; r < DOT_ROWS; r++) accumulate(totals[r][t], weights[r], input);
        }
    }
    if (whole < columns) {
        for (int r = 0; r < DOT_ROWS; r++) {
            const Group weights = last_group<F>(rows[r], whole, columns);
            for (int t = 0; t < T; t++) accumulate(totals[r][t], weights, inputs(x[t] + whole));
        }
    }
    for (int t = 0; t < T; t++) sum_four(totals[0][t], totals[1][t], totals[2][t], totals[3][t], out[t]);
}

#if ABRUZZI_BF16
// Rows unpacked once for many tokens, as plain ones.
template <class F>
static inline void unpack_rows(const Row* rows, int64_t columns, Row* unpacked) {
    static thread_local std::vector<bf16> memory;
    const int64_t stride = padded(columns);
    if (int64_t(memory.size()) < DOT_ROWS * stride) memory.resize(size_t(DOT_ROWS * stride));
    for (int r = 0; r < DOT_ROWS; r++) {
        bf16* to = memory.data() + r * stride;
        for (int64_t column = 0; column < columns; column += GROUP) {
            __builtin_prefetch(rows[r].values + F::bytes(column) + PREFETCH_BYTES, 0, SECOND_CACHE);
            const Group group =
                column + GROUP <= columns ? F::group(rows[r], column) : last_group<F>(rows[r], column, columns);
            _mm512_storeu_si512(to + column, (__m512i)group.values);
        }
        unpacked[r] = {reinterpret_cast<const uint8_t*>(to), nullptr, false};
    }
}
#endif

// take(r, t, value) for DOT_ROWS rows and any number of tokens.
template <class F, class Take>
static inline void dot_rows(const Row* rows, int64_t columns, const Input* const* x, int tokens, Take take) {
#if ABRUZZI_BF16
    if constexpr (!std::is_same_v<F, PlainFormat>) {
        if (tokens > DOT_TOKENS) {
            Row unpacked[DOT_ROWS];
            unpack_rows<F>(rows, columns, unpacked);
            return dot_rows<PlainFormat>(unpacked, columns, x, tokens, take);
        }
    }
#endif
    int t = 0;
    auto run = [&](auto count) {
        constexpr int T = decltype(count)::value;
        float out[T][DOT_ROWS];
        dots<F, T>(rows, columns, x + t, out);
        for (int r = 0; r < DOT_ROWS; r++)
            for (int i = 0; i < T; i++) take(r, t + i, out[i][r]);
        t += T;
    };
    while (t + DOT_TOKENS <= tokens) run(std::integral_constant<int, DOT_TOKENS>{});
    if (DOT_TOKENS == 4 && t + 3 <= tokens) run(std::integral_constant<int, 3>{});
    if (DOT_TOKENS == 4 && t + 2 <= tokens) run(std::integral_constant<int, 2>{});
    if (t == tokens) return;
    if (tokens > 1 || F::bytes(GROUP) < GROUP) return run(std::integral_constant<int, 1>{});  // int4 is no faster so
    float out[DOT_ROWS];
    dots_of_one<F>(rows, columns, x[0], out);
    for (int r = 0; r < DOT_ROWS; r++) take(r, 0, out[r]);
}

constexpr int PANEL_ROWS = 2 * LANES;
constexpr int PANEL_TOKENS = LANES == 16 ? 12 : 6;

#if ABRUZZI_BF16
// A panel's memory: for each pair of columns, PANEL_ROWS pairs of values.
static inline int64_t panel_inputs(int64_t columns) { return padded(columns) * PANEL_ROWS; }

static inline void transpose(__m512i (&v)[16]) {
    __m512i a[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    // now v[4 q + j] holds column j of each 128-bit quarter, of rows 4 q ... 4 q + 3
    for (int j = 0; j < 4; j++) {
        const __m512i low = _mm512_shuffle_i32x4(v[j], v[j + 4], 0x88), high = _mm512_shuffle_i32x4(v[j], v[j + 4], 0xdd);
        const __m512i low2 = _mm512_shuffle_i32x4(v[j + 8], v[j + 12], 0x88);
        const __m512i high2 = _mm512_shuffle_i32x4(v[j + 8], v[j + 12], 0xdd);
        a[j] = _mm512_shuffle_i32x4(low, low2, 0x88);
        a[j + 8] = _mm512_shuffle_i32x4(low, low2, 0xdd);
        a[j + 4] = _mm512_shuffle_i32x4(high, high2, 0x88);
        a[j + 12] = _mm512_shuffle_i32x4(high, high2, 0xdd);
    }
    for (int i = 0; i < 16; i++) v[i] = a[i];
}

template <class F>
static inline void pack_panel(const Row* rows, int64_t columns, Input* panel) {
    for (int64_t column = 0; column < columns; column += GROUP) {
        for (int half = 0; half < 2; half++) {
            __m512i block[16];
            for (int r = 0; r < 16; r++) {
                const Row& row = rows[half * 16 + r];
                __builtin_prefetch(row.values + F::bytes(column) + PACK_AHEAD, 0, SECOND_CACHE);
                const Group group =
                    column + GROUP <= columns ? F::group(row, column) : last_group<F>(row, column, columns);
                block[r] = (__m512i)group.values;
            }
            transpose(block);
            for (int pair = 0; pair < 16; pair++)
                _mm512_storeu_si512(panel + ((column / 2 + pair) * 2 + half) * 32, block[pair]);
        }
    }
}

template <int T>
static void panel_tile(const Input* panel, int64_t columns, const Input* const* x, Floats (*out)[2]) {
    __m512 low[T], high[T];
    for (int t = 0; t < T; t++) low[t] = high[t] = _mm512_setzero_ps();
    const int64_t pairs = padded(columns) / 2;
    for (int64_t pair = 0; pair < pairs; pair++) {
        const __m512bh first = (__m512bh)_mm512_loadu_si512(panel + pair * 64);
        const __m512bh second = (__m512bh)_mm512_loadu_si512(panel + pair * 64 + 32);
        for (int t = 0; t < T; t++) {
            int32_t both;
            std::memcpy(&both, x[t] + pair * 2, 4);
            const __m512bh value = (__m512bh)_mm512_set1_epi32(both);
            low[t] = _mm512_dpbf16_ps(low[t], first, value);
            high[t] = _mm512_dpbf16_ps(high[t], second, value);
        }
    }
    for (int t = 0; t < T; t++) out[t][0] = Floats(low[t]), out[t][1] = Floats(high[t]);
}
#else
// A panel's memory: for each column, PANEL_ROWS values.
static inline int64_t panel_inputs(int64_t columns) { return padded(columns) * PANEL_ROWS; }

template <class F>
static inline void pack_panel(const Row* rows, int64_t columns, Input* panel) {
    for (int r = 0; r < PANEL_ROWS; r++) {
        for (int64_t column = 0; column < columns; column += GROUP) {
            const Group group =
                column + GROUP <= columns ? F::group(rows[r], column) : last_group<F>(rows[r], column, columns);
            for (int i = 0; i < GROUP; i++)
                panel[(column + i) * PANEL_ROWS + r] = group.values[i / LANES][i % LANES];
        }
    }
}

template <int T>
static void panel_tile(const Input* panel, int64_t columns, const Input* const* x, Floats (*out)[2]) {
    Floats low[T] = {}, high[T] = {};
    for (int64_t column = 0; column < columns; column++) {
        const Floats first = load(panel + column * PANEL_ROWS), second = load(panel + column * PANEL_ROWS + LANES);
        for (int t = 0; t < T; t++) {
            low[t] += first * x[t][column];
            high[t] += second * x[t][column];
        }
    }
    for (int t = 0; t < T; t++) out[t][0] = low[t], out[t][1] = high[t];
}
#endif

// The same for any number of tokens up to PANEL_TOKENS.
template <int T = PANEL_TOKENS>
static inline void panel_some(const Input* panel, int64_t columns, const Input* const* x, int tokens,
                              Floats (*out)[2]) {
    if constexpr (T > 1) {
        if (tokens < T) return panel_some<T - 1>(panel, columns, x, tokens, out);
    }
    panel_tile<T>(panel, columns, x, out);
}

// take(t, low, high): the products of a panel's first and second LANES rows with any number of tokens, which are taken in
// equal parts: a small rest would be computed at a fraction of the speed.
template <class Take>
static inline void panel_tokens(const Input* panel, int64_t columns, const Input* const* x, int tokens, Take take) {
    const int parts = (tokens + PANEL_TOKENS - 1) / PANEL_TOKENS;
    for (int part = 0; part < parts; part++) {
        const int first = tokens * part / parts, count = tokens * (part + 1) / parts - first;
        Floats out[PANEL_TOKENS][2];
        panel_some(panel, columns, x + first, count, out);
        for (int i = 0; i < count; i++) take(first + i, out[i][0], out[i][1]);
    }
}

// Calls with the format's class.
template <class Body>
static inline void with_format(int32_t format, Body body) {
    switch (format) {
        case FP8: return body(Fp8Format{});
        case INT8: return body(Int8Format{});
        case INT4: return body(Int4Format{});
        default: return body(PlainFormat{});
    }
}
