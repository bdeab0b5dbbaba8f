// Threads that share the items of one loop at a time. They belong to the library, not to OpenMP: a loop ends when its
// items are done, whoever did them, so a thread that the system keeps from running holds nobody up unless it has begun
// an item. Idle threads spin for about 0.1 ms, since the next loop of a step follows soon, and then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif

namespace abruzzi {

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

class Pool {
  public:
    static Pool& shared() {
        static Pool* pool = new Pool;  // never destroyed: its threads may outlive main's objects
        return *pool;
    }

    int size() const { return int(workers_.size()) + 1; }

    // Callers besides this many threads; called between loops only.
    void resize(int threads) {
        stop();
        for (int i = 1; i < threads; i++) workers_.emplace_back([this] { serve(); });
    }

    // body(item) for each item in [0, items), in any order, on any thread. Returns when all are done.
    template <class Body>
    void each(int items, const Body& body) {
        if (workers_.empty() || items <= 1) {
            for (int item = 0; item < items; item++) body(item);
            return;
        }
        start([](const void* context, int item) { (*static_cast<const Body*>(context))(item); }, &body, items);
    }

  private:
    using Run = void (*)(const void*, int);
    static constexpr int SPINS = 4000;
    static constexpr uint32_t CLOSED = 0xffffffff;

    // ticket: which loop it is in the upper half, its next item in the lower. An item is taken by raising the whole, so
    // that whoever looked at another loop takes nothing. Between loops the lower half is CLOSED while the rest below
    // changes: without that, a thread that saw the last loop's end could read the next one's items and take one.
    std::atomic<uint64_t> ticket_{0};
    std::atomic<int> calls_{0};  // what sleepers watch
    std::atomic<uint32_t> items_{0}, finished_{0};
    std::atomic<Run> run_{nullptr};
    std::atomic<const void*> context_{nullptr};
    std::atomic<bool> stopping_{false};
    std::vector<std::thread> workers_;

    void start(Run run, const void* context, int items) {
        const uint64_t loop = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
        ticket_.exchange((loop - 1) << 32 | CLOSED, std::memory_order_acq_rel);
        run_.store(run, std::memory_order_relaxed);
        context_.store(context, std::memory_order_relaxed);
        items_.store(uint32_t(items), std::memory_order_relaxed);
        finished_.store(0, std::memory_order_relaxed);
        ticket_.store(loop << 32, std::memory_order_release);
        call();
        work(uint32_t(loop));
        for (int spins = 0; finished_.load(std::memory_order_acquire) != uint32_t(items); spins++) {
            relax();
            if (spins > SPINS) yield();
        }
    }

    void work(uint32_t loop) {
        for (;;) {
            uint64_t ticket = ticket_.load(std::memory_order_acquire);
            if (uint32_t(ticket >> 32) != loop) return;
            const uint32_t item = uint32_t(ticket);
            if (item >= items_.load(std::memory_order_relaxed)) return;
            const Run run = run_.load(std::memory_order_relaxed);
            const void* context = context_.load(std::memory_order_relaxed);
            if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
            run(context, int(item));
            finished_.fetch_add(1, std::memory_order_release);
        }
    }

    void serve() {
        uint32_t seen = 0;
        int spins = 0;
        for (;;) {
            const int calls = calls_.load(std::memory_order_acquire);  // before what it tells of, or its wait misses it
            if (stopping_.load(std::memory_order_relaxed)) return;
            const uint32_t loop = uint32_t(ticket_.load(std::memory_order_acquire) >> 32);
            if (loop != seen) {
                work(loop);
                seen = loop;
                spins = 0;
            } else if (++spins < SPINS) {
                relax();
            } else {
                calls_.wait(calls, std::memory_order_acquire);
                spins = 0;
            }
        }
    }

    void call() {
        calls_.fetch_add(1, std::memory_order_release);
        calls_.notify_all();
    }

    void stop() {
        stopping_.store(true);
        call();
        for (auto& worker : workers_) worker.join();
        workers_.clear();
        stopping_.store(false);
    }

    static void yield() { std::this_thread::yield(); }
};

}  // namespace abruzzi
