// Vectors of LANES floats, in GCC's own vector language. Included inside an instruction set's namespace, which defines
// ABRUZZI_LANES, and ABRUZZI_BF16 where it multiplies pairs of bfloat16.

constexpr int LANES = ABRUZZI_LANES;
constexpr int GROUP = 32;  // columns that are loaded together: a group of the int formats
constexpr int VECTORS = GROUP / LANES;

typedef float Floats __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef int8_t SignedBytes __attribute__((vector_size(LANES), aligned(1), may_alias));

// LANES small integers as 32-bit ones. GCC's own conversion takes them apart, so the instructions are named.
#if ABRUZZI_LANES == 16
static inline Words widen(const uint16_t* from) {
    return Words(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
static inline Words widen(const uint8_t* from) {
    return Words(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
static inline Ints widen(const int8_t* from) {
    return Ints(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
#elif ABRUZZI_LANES == 8
static inline Words widen(const uint16_t* from) {
    return Words(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
static inline Words widen(const uint8_t* from) {
    return Words(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
static inline Ints widen(const int8_t* from) {
    return Ints(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
#else
static inline Words widen(const uint16_t* from) {
    return __builtin_convertvector(*reinterpret_cast<const Halves*>(from), Words);
}
static inline Words widen(const uint8_t* from) {
    return __builtin_convertvector(*reinterpret_cast<const Bytes*>(from), Words);
}
static inline Ints widen(const int8_t* from) {
    return __builtin_convertvector(*reinterpret_cast<const SignedBytes*>(from), Ints);
}
#endif

static inline Floats splat(float value) { return Floats{} + value; }

static inline float to_float(bf16 value) {
    uint32_t bits = uint32_t(value) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

static inline bf16 to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (value != value) return bf16(bits >> 16) | 0x40;
    return bf16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline Floats load(const float* from) { return *reinterpret_cast<const Floats*>(from); }

static inline Floats load(const bf16* from) {
    return reinterpret_cast<Floats>(widen(from) << 16);
}

static inline void store(float* to, Floats values) { *reinterpret_cast<Floats*>(to) = values; }

static inline void store(bf16* to, Floats values) {
#if ABRUZZI_BF16
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(__m512(values)));
#else
    const Words bits = reinterpret_cast<Words>(values);
    const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const Words nan = (bits >> 16) | 0x40;
    const Ints is_nan = values != values;
    const Words chosen = (rounded & ~reinterpret_cast<Words>(is_nan)) | (nan & reinterpret_cast<Words>(is_nan));
    *reinterpret_cast<Halves*>(to) = __builtin_convertvector(chosen, Halves);
#endif
}

static inline float sum(Floats values) {
#if ABRUZZI_LANES == 16
    return _mm512_reduce_add_ps(__m512(values));
#else
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += values[lane];
    return total;
#endif
}

// The sums of four vectors: added to each other lane by lane, after shuffles, they cost less than four times one.
static inline void sum_four(Floats a, Floats b, Floats c, Floats d, float* to) {
#if ABRUZZI_LANES == 16
    //   a b  = a0+a2 b0+b2 a1+a3 b1+b3 in each quarter, c d likewise; both: a b c d in each quarter
    const __m512 ab = _mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b);
    const __m512 cd = _mm512_unpacklo_ps(c, d) + _mm512_unpackhi_ps(c, d);
    const __m512 all = __m512(_mm512_unpacklo_pd(__m512d(ab), __m512d(cd))) +
                       __m512(_mm512_unpackhi_pd(__m512d(ab), __m512d(cd)));
    const __m256 half = _mm512_castps512_ps256(all) + _mm512_extractf32x8_ps(all, 1);
    _mm_storeu_ps(to, _mm256_castps256_ps128(half) + _mm256_extractf128_ps(half, 1));
#else
    to[0] = sum(a), to[1] = sum(b), to[2] = sum(c), to[3] = sum(d);
#endif
}

// e to the power of x, relative error below 1e-7 (the polynomial is Cephes' for the exponential of a float).
static inline Floats exponential(Floats x) {
    x = x < splat(-87.0f) ? splat(-87.0f) : x;  // NaN stays
    x = x > splat(88.0f) ? splat(88.0f) : x;
    const Floats magic = splat(12582912.0f);  // adding it rounds to a whole number
    const Floats whole = (x * 1.44269504088896341f + magic) - magic;
    const Floats rest = x - whole * 0.693359375f - whole * -2.12194440e-4f;
    Floats power = splat(1.9875691500e-4f);
    for (float factor : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        power = power * rest + factor;
    power = power * rest * rest + rest + 1.0f;
    const Ints exponent = (__builtin_convertvector(whole, Ints) + 127) << 23;
    return power * reinterpret_cast<Floats>(exponent);
}

static inline Floats silu(Floats x) { return x / (1.0f + exponential(-x)); }
