#include "table.hpp"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#define ABRUZZI_NAMESPACE avx2
#define ABRUZZI_LANES 8
#define ABRUZZI_BF16 0
#include "kernels.hpp"
#endif
