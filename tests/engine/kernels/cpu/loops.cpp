// Short loops over the pool, of different lengths one after another, on as many threads as the first argument says. Each
// item must have run once when its loop returns. Exit status 1, or no end at all, if not.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "threads.hpp"

int main(int, char** arguments) {
    auto& pool = abruzzi::Pool::shared();
    pool.resize(std::atoi(arguments[1]));
    const auto runs = std::make_unique<std::atomic<int>[]>(32);
    for (int loop = 0; loop < 6000000; loop++) {
        const int items = loop % 2 ? 2 : 24;
        for (int item = 0; item < items; item++) runs[item] = 0;
        pool.each(items, [&](int item) {
            runs[item]++;
            for (volatile int i = 0; i < 20; i = i + 1) continue;
        });
        for (int item = 0; item < items; item++) {
            if (runs[item] == 1) continue;
            std::printf("loop %d: item %d of %d ran %d times\n", loop, item, items, runs[item].load());
            std::_Exit(1);
        }
    }
    std::_Exit(0);  // the pool's threads are never joined
}
