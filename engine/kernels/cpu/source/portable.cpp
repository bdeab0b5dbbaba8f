#include "table.hpp"

#define ABRUZZI_NAMESPACE portable
#define ABRUZZI_LANES 4
#define ABRUZZI_BF16 0
#include "kernels.hpp"
