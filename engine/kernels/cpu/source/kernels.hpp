// All kernels for one instruction set, as a table of functions. Included by a file that has named its namespace, its
// lanes and its target.

namespace abruzzi::ABRUZZI_NAMESPACE {

#include "vectors.hpp"
#include "matrix.hpp"
#include "linear.hpp"
#include "small.hpp"
#include "attention.hpp"
#include "prefill.hpp"

static void experts_of(const Matrix& gate_ups, const Matrix& downs, int64_t count, Rows x, int64_t tokens,
                       int64_t per_token, const float* weights, const int64_t* ids, Rows out) {
    experts(gate_ups, downs, Assignments(ids, weights, tokens * per_token, per_token, count), x, tokens, out);
}

extern const Table table;
const Table table = {linear, experts_of, rms_norm, add_rms_norm, add, xielu, mla_store, gqa_store, mla_decode,
                     gqa_decode, mla_prefill, gqa_prefill, route};

}  // namespace abruzzi::ABRUZZI_NAMESPACE
