#include "table.hpp"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")
#define ABRUZZI_NAMESPACE avx512bf16
#define ABRUZZI_LANES 16
#define ABRUZZI_BF16 1
#include "kernels.hpp"
#endif
