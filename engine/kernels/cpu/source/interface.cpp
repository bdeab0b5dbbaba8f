// The plain C interface of the kernels: what library.py calls. One caller at a time.

#include <utility>

#include "table.hpp"

namespace abruzzi {

namespace portable { extern const Table table; }
#if defined(__x86_64__)
namespace avx2 { extern const Table table; }
namespace avx512 { extern const Table table; }
namespace avx512bf16 { extern const Table table; }
#endif

struct InstructionSet {
    const char* name;
    const Table* table;
    bool usable;
};

// The best first.
static const std::vector<InstructionSet>& instruction_sets() {
    static const std::vector<InstructionSet> sets = [] {
        std::vector<InstructionSet> found;
#if defined(__x86_64__)
        __builtin_cpu_init();
        const bool fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        const bool wide = fast && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
        found.push_back({"avx512bf16", &avx512bf16::table, wide && __builtin_cpu_supports("avx512bf16")});
        found.push_back({"avx512", &avx512::table, wide});
        found.push_back({"avx2", &avx2::table, fast});
#endif
        found.push_back({"portable", &portable::table, true});
        return found;
    }();
    return sets;
}

static const Table* kernels = nullptr;

}  // namespace abruzzi

using namespace abruzzi;

extern "C" {

// The name of the i-th instruction set that this machine can use, best first; null after the last.
const char* abruzzi_instruction_set(int index) {
    for (const auto& set : instruction_sets())
        if (set.usable && index-- == 0) return set.name;
    return nullptr;
}

// Uses an instruction set by name from now on. 0, or -1 if it is not usable.
int abruzzi_use(const char* name) {
    for (const auto& set : instruction_sets()) {
        if (set.usable && !std::strcmp(set.name, name)) {
            kernels = set.table;
            return 0;
        }
    }
    return -1;
}

void abruzzi_threads(int threads) { Pool::shared().resize(threads); }

void abruzzi_linear(const Matrix* weight, bf16* x, int64_t x_stride, int64_t tokens, bf16* out) {
    kernels->linear(*weight, {x, x_stride}, tokens, {out, weight->rows});
}

void abruzzi_experts(const Matrix* gate_ups, const Matrix* downs, int64_t count, bf16* x, int64_t x_stride,
                     int64_t tokens, int64_t per_token, const float* weights, const int64_t* ids, bf16* out) {
    kernels->experts(*gate_ups, *downs, count, {x, x_stride}, tokens, per_token, weights, ids, {out, downs->rows});
}

void abruzzi_rms_norm(bf16* x, int64_t x_stride, int64_t tokens, int64_t width, const bf16* weight, float eps,
                      bf16* out) {
    kernels->rms_norm({x, x_stride}, tokens, width, weight, eps, {out, width});
}

void abruzzi_add_rms_norm(bf16* x, bf16* delta, int64_t tokens, int64_t width, const bf16* weight, float eps,
                          bf16* sums, bf16* out) {
    kernels->add_rms_norm({x, width}, {delta, width}, tokens, width, weight, eps, {sums, width}, {out, width});
}

void abruzzi_add(bf16* a, bf16* b, int64_t tokens, int64_t width, bf16* out) {
    kernels->add({a, width}, {b, width}, tokens, width, {out, width});
}

void abruzzi_xielu(bf16* x, int64_t x_stride, int64_t tokens, int64_t width, const bf16* alpha_p,
                   const bf16* alpha_n, bf16* out) {
    kernels->xielu({x, x_stride}, tokens, width, alpha_p, alpha_n, {out, width});
}

// Rows `ids` of `table`.
void abruzzi_embedding(const int64_t* ids, int64_t tokens, const bf16* table, int64_t width, bf16* out) {
    for (int64_t t = 0; t < tokens; t++) std::memcpy(out + t * width, table + ids[t] * width, size_t(width) * 2);
}

// Complex numbers of size `magnitude` at the angles position * frequency.
void abruzzi_turns(const int64_t* positions, int64_t tokens, const float* frequencies, int64_t pairs, float magnitude,
                   float* out) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < pairs; i++) {
            const float angle = float(positions[t]) * frequencies[i];
            *out++ = magnitude * std::cos(angle);
            *out++ = magnitude * std::sin(angle);
        }
    }
}

void abruzzi_mla_store(bf16* query, int64_t query_stride, bf16* latent, int64_t latent_stride, bf16* key,
                       int64_t key_stride, int64_t tokens, int64_t heads, int64_t nope, int64_t rotary,
                       const bf16* norm, float eps, const float* turns, int interleaved, const Cache* cache,
                       const int64_t* slots, bf16* out) {
    kernels->mla_store({query, query_stride}, {latent, latent_stride}, {key, key_stride}, tokens, heads, nope, rotary,
                       norm, eps, turns, interleaved, *cache, slots, out);
}

void abruzzi_gqa_store(bf16* query, int64_t query_stride, bf16* key, int64_t key_stride, bf16* value,
                       int64_t value_stride, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t width,
                       const bf16* q_norm, const bf16* k_norm, float eps, const float* turns, int interleaved,
                       const Cache* cache, const int64_t* slots, bf16* out) {
    kernels->gqa_store({query, query_stride}, {key, key_stride}, {value, value_stride}, tokens, heads, kv_heads, width,
                       q_norm, k_norm, eps, turns, interleaved, *cache, slots, out);
}

void abruzzi_mla_decode(const Decode* decode, const Cache* cache, bf16* query, int64_t query_stride, const bf16* up_k,
                        const bf16* up_v, int64_t nope, int64_t rotary, int64_t value, bf16* out) {
    kernels->mla_decode(*decode, *cache, {query, query_stride}, up_k, up_v, nope, rotary, value, out);
}

void abruzzi_gqa_decode(const Decode* decode, const Cache* cache, bf16* query, int64_t query_stride, int64_t kv_heads,
                        bf16* out) {
    kernels->gqa_decode(*decode, *cache, {query, query_stride}, kv_heads, out);
}

void abruzzi_mla_prefill(bf16* query, int64_t query_stride, int64_t tokens, int64_t heads, const Cache* cache,
                         const int64_t* blocks, int64_t start, const bf16* up_k, const bf16* up_v, int64_t nope,
                         int64_t rotary, int64_t value, float scale, bf16* out) {
    kernels->mla_prefill({query, query_stride}, tokens, heads, *cache, blocks, start, up_k, up_v, nope, rotary, value,
                         scale, out);
}

void abruzzi_gqa_prefill(bf16* query, int64_t query_stride, int64_t tokens, int64_t heads, const Cache* cache,
                         const int64_t* blocks, int64_t start, int64_t kv_heads, float scale, bf16* out) {
    kernels->gqa_prefill({query, query_stride}, tokens, heads, *cache, blocks, start, kv_heads, scale, out);
}

void abruzzi_route(const Router* router, bf16* x, int64_t x_stride, int64_t tokens, float* weights, int64_t* ids) {
    kernels->route(*router, {x, x_stride}, tokens, weights, ids);
}

}  // extern "C"

// Recorded calls: a function of above and its arguments as 64-bit words, addresses and numbers alike (recorder.py).

namespace {

template <class A>
A from_word(uint64_t word) {
    if constexpr (std::is_pointer_v<A>) {
        return reinterpret_cast<A>(word);
    } else {
        A value;  // the first bytes: little-endian
        std::memcpy(&value, &word, sizeof value);
        return value;
    }
}

template <auto function>
struct Recorded;
template <class... A, void (*function)(A...)>
struct Recorded<function> {
    static constexpr int arguments = sizeof...(A);
    static void call(const uint64_t* words) { call(words, std::index_sequence_for<A...>{}); }
    template <size_t... I>
    static void call(const uint64_t* words, std::index_sequence<I...>) {
        function(from_word<A>(words[I])...);
    }
};

struct Function {
    const char* name;
    int arguments;
    void (*call)(const uint64_t*);
};

#define RECORDED(name) {#name, Recorded<abruzzi_##name>::arguments, Recorded<abruzzi_##name>::call}
const Function functions[] = {
    RECORDED(linear),     RECORDED(experts),    RECORDED(rms_norm),   RECORDED(add_rms_norm), RECORDED(add),
    RECORDED(xielu),      RECORDED(embedding),  RECORDED(turns),      RECORDED(mla_store),    RECORDED(gqa_store),
    RECORDED(mla_decode), RECORDED(gqa_decode), RECORDED(mla_prefill), RECORDED(gqa_prefill), RECORDED(route),
};

}  // namespace

extern "C" {

// Which recorded function has this name; -1: none.
int abruzzi_function(const char* name) {
    for (int i = 0; i < int(std::size(functions)); i++)
        if (!std::strcmp(functions[i].name, name)) return i;
    return -1;
}

// Makes calls one after another; `words` holds a function's number, then its arguments, again and again.
void abruzzi_replay(const uint64_t* words, int64_t count) {
    for (const uint64_t* end = words + count; words < end;) {
        const Function& function = functions[*words];
        function.call(words + 1);
        words += 1 + function.arguments;
    }
}

}  // extern "C"
