// Linear layers and gated feed-forward blocks, one or many (experts). Included inside an instruction set's namespace.

// From this many tokens on, panels beat dots (benchmarks/cpu_kernels.py): turning plain rows pays late, and packed ones
// have to be unpacked anyway.
template <class F>
constexpr int PANEL_FROM = 16;
template <>
constexpr int PANEL_FROM<PlainFormat> = ABRUZZI_BF16 ? 64 : 20;

constexpr int64_t DOT_BYTES = 32768;  // weights of one item of work, about

// Tokens as kernels read them: padded to whole groups where they are not.
class Inputs {
  public:
    Inputs(const Rows& rows, int64_t tokens, int64_t width) {
#if ABRUZZI_BF16
        if (width % GROUP == 0) {
            first_ = rows.data;
            stride_ = rows.stride;
            return;
        }
#endif
        stride_ = padded(width);
        memory_.resize(size_t(tokens * stride_));
        for (int64_t t = 0; t < tokens; t++)
            for (int64_t i = 0; i < width; i++)
                memory_[size_t(t * stride_ + i)] = as_input(to_float(rows.data[t * rows.stride + i]));
        first_ = memory_.data();
    }
    const Input* operator[](int64_t token) const { return first_ + token * stride_; }

  private:
    std::vector<Input> memory_;
    const Input* first_;
    int64_t stride_;
};

template <class F>
static void linear_dots(const Matrix& weight, const Input* const* x, int tokens, Rows out) {
    const int64_t row_bytes = F::bytes(weight.columns);
    const int64_t step = std::max<int64_t>(DOT_BYTES / row_bytes / DOT_ROWS, 1) * DOT_ROWS;
    Pool::shared().each(int((weight.rows + step - 1) / step), [&](int item) {
        const int64_t last = std::min((item + 1) * step, weight.rows);
        for (int64_t first = item * step; first < last; first += DOT_ROWS) {
            Row rows[DOT_ROWS];
            for (int r = 0; r < DOT_ROWS; r++) rows[r] = F::row(weight, std::min(first + r, weight.rows - 1));
            dot_rows<F>(rows, weight.columns, x, tokens, [&](int r, int t, float value) {
                if (first + r < last) out.data[t * out.stride + first + r] = to_bf16(value);
            });
        }
    });
}

// One scratch memory for each thread, as large as it ever had to be.
static Input* scratch(int64_t inputs) {
    static thread_local std::vector<Input> memory;
    if (int64_t(memory.size()) < inputs) memory.resize(size_t(inputs));
    return memory.data();
}

static inline void store_some(bf16* to, Floats values, int64_t count) {
    if (count >= LANES) return store(to, values);
    for (int64_t i = 0; i < count; i++) to[i] = to_bf16(values[i]);
}

template <class F>
static void linear_panels(const Matrix& weight, const Input* const* x, int tokens, Rows out) {
    Pool::shared().each(int((weight.rows + PANEL_ROWS - 1) / PANEL_ROWS), [&](int item) {
        const int64_t first = int64_t(item) * PANEL_ROWS;
        Row rows[PANEL_ROWS];
        for (int r = 0; r < PANEL_ROWS; r++) rows[r] = F::row(weight, std::min(first + r, weight.rows - 1));
        Input* panel = scratch(panel_inputs(weight.columns));
        pack_panel<F>(rows, weight.columns, panel);
        panel_tokens(panel, weight.columns, x, tokens, [&](int t, Floats low, Floats high) {
            bf16* to = out.data + t * out.stride + first;
            store_some(to, low, weight.rows - first);
            store_some(to + LANES, high, weight.rows - first - LANES);
        });
    });
}

static void linear(const Matrix& weight, Rows x, int64_t tokens, Rows out) {
    const Inputs inputs(x, tokens, weight.columns);
    std::vector<const Input*> pointers(size_t(tokens), nullptr);
    for (int64_t t = 0; t < tokens; t++) pointers[size_t(t)] = inputs[t];
    with_format(weight.format, [&](auto format) {
        using F = decltype(format);
        if (tokens < PANEL_FROM<F>)
            linear_dots<F>(weight, pointers.data(), int(tokens), out);
        else
            linear_panels<F>(weight, pointers.data(), int(tokens), out);
    });
}

// The tokens of each expert: tokens, and how much of its answer each takes, in the experts' order.
struct Assignments {
    struct Expert {
        int64_t index;
        int first, count;
    };
    std::vector<Expert> experts;  // those that were hit
    std::vector<int> tokens;
    std::vector<float> weights;

    // Without ids and weights every token goes to the first expert, with weight 1.
    Assignments(const int64_t* ids, const float* given, int64_t count, int64_t per_token, int64_t experts_in_all) {
        if (!ids) {
            experts.push_back({0, 0, int(count)});
            tokens.resize(size_t(count));
            for (int64_t i = 0; i < count; i++) tokens[size_t(i)] = int(i);
            weights.assign(size_t(count), 1.0f);
            return;
        }
        std::vector<int> starts(size_t(experts_in_all) + 1, 0);
        for (int64_t i = 0; i < count; i++) starts[size_t(ids[i]) + 1]++;
        for (int64_t e = 0; e < experts_in_all; e++) {
            if (starts[size_t(e) + 1]) experts.push_back({e, starts[size_t(e)], starts[size_t(e) + 1]});
            starts[size_t(e) + 1] += starts[size_t(e)];
        }
        tokens.resize(size_t(count));
        weights.resize(size_t(count));
        for (int64_t i = 0; i < count; i++) {
            const int place = starts[size_t(ids[i])]++;
            tokens[size_t(place)] = int(i / per_token);
            weights[size_t(place)] = given[i];
        }
    }
};

static inline Matrix of_stack(const Matrix& stack, int64_t index) {
    const int64_t values = stack.rows * stack.columns, groups = stack.rows * (stack.columns / GROUP);
    int64_t bytes = values, scale_bytes = groups * (stack.scale_is_float ? 4 : 2);
    if (stack.format == PLAIN) bytes = values * 2, scale_bytes = 0;
    if (stack.format == INT4) bytes = values / 2;
    if (stack.format == FP8) {
        const int64_t block = Fp8Format::BLOCK;
        scale_bytes = (stack.rows + block - 1) / block * ((stack.columns + block - 1) / block) * 4;
    }
    Matrix matrix = stack;
    matrix.values = static_cast<const uint8_t*>(stack.values) + index * bytes;
    if (stack.scale) matrix.scale = static_cast<const uint8_t*>(stack.scale) + index * scale_bytes;
    return matrix;
}

// inner[first ... last) of one expert's tokens: silu(gate) * up.
template <class F>
static void gate_up(const Matrix& weight, const Input* const* x, int tokens, int64_t first, int64_t last, Input* inner,
                    int64_t stride) {
    const int64_t width = weight.rows / 2;
    if (tokens < PANEL_FROM<F>) {
        for (int64_t f = first; f < last; f += 2) {
            const int64_t next = std::min(f + 1, last - 1);
            const Row rows[DOT_ROWS] = {F::row(weight, f), F::row(weight, width + f), F::row(weight, next),
                                        F::row(weight, width + next)};
            const int64_t places[2] = {f, next};
            // values come row by row for some tokens at a time: a gate is kept until its up arrives
            float gates[2][DOT_TOKENS];
            dot_rows<F>(rows, weight.columns, x, tokens, [&](int r, int t, float value) {
                float& held = gates[r / 2][t % DOT_TOKENS];
                if (r % 2 == 0)
                    held = value;
                else
                    inner[t * stride + places[r / 2]] = as_input(held / (1.0f + std::exp(-held)) * value);
            });
        }
        return;
    }
    Input* panel = scratch(panel_inputs(weight.columns));
    for (int64_t f = first; f < last; f += LANES) {
        Row rows[PANEL_ROWS];
        for (int r = 0; r < LANES; r++) {
            const int64_t place = std::min(f + r, width - 1);
            rows[r] = F::row(weight, place);
            rows[LANES + r] = F::row(weight, width + place);
        }
        pack_panel<F>(rows, weight.columns, panel);
        panel_tokens(panel, weight.columns, x, tokens, [&](int t, Floats gate, Floats up) {
            const Floats values = silu(gate) * up;
            Input* to = inner + t * stride + f;
            if (f + LANES <= last)
                store(to, values);
            else
                for (int64_t i = 0; i < last - f; i++) to[i] = as_input(values[i]);
        });
    }
}

// Adds weight * down(inner) of one expert's tokens to columns [first, first + PANEL_ROWS) of `sums`.
template <class F>
static void down(const Matrix& weight, const Input* const* inner, int tokens, int64_t first, const int* to,
                 const float* shares, float* sums) {
    const int64_t count = std::min<int64_t>(PANEL_ROWS, weight.rows - first);
    if (tokens < PANEL_FROM<F>) {
        for (int64_t row = 0; row < count; row += DOT_ROWS) {
            Row rows[DOT_ROWS];
            for (int r = 0; r < DOT_ROWS; r++) rows[r] = F::row(weight, first + std::min(row + r, count - 1));
            dot_rows<F>(rows, weight.columns, inner, tokens, [&](int r, int t, float value) {
                if (row + r < count) sums[to[t] * PANEL_ROWS + row + r] += shares[t] * value;
            });
        }
        return;
    }
    Row rows[PANEL_ROWS];
    for (int r = 0; r < PANEL_ROWS; r++) rows[r] = F::row(weight, first + std::min<int64_t>(r, count - 1));
    Input* panel = scratch(panel_inputs(weight.columns));
    pack_panel<F>(rows, weight.columns, panel);
    panel_tokens(panel, weight.columns, inner, tokens, [&](int t, Floats low, Floats high) {
        float* sum = sums + to[t] * PANEL_ROWS;
        store(sum, load(sum) + low * shares[t]);
        store(sum + LANES, load(sum + LANES) + high * shares[t]);
    });
}

// Sum over each token's experts of share * down(silu(gate) * up). Each expert's weights are read once, by panels where
// many tokens visit it. Two loops over the threads: all experts' inner values, then columns of the result.
static void experts(const Matrix& gate_ups, const Matrix& downs, const Assignments& assigned, Rows x, int64_t tokens,
                    Rows out) {
    const int64_t width = downs.columns, stride = padded(width), hidden = downs.rows;
    const Inputs inputs(x, tokens, gate_ups.columns);
    std::vector<const Input*> pointers(assigned.tokens.size());
    static thread_local std::vector<Input> memory;
    memory.assign(assigned.tokens.size() * size_t(stride), Input(0));
    Input* const inner_memory = memory.data();
    std::vector<const Input*> inner(assigned.tokens.size());
    for (size_t i = 0; i < assigned.tokens.size(); i++) {
        pointers[i] = inputs[assigned.tokens[i]];
        inner[i] = inner_memory + i * size_t(stride);
    }
    with_format(gate_ups.format, [&](auto format) {
        using F = decltype(format);
        const int64_t least = std::max<int64_t>(DOT_BYTES / (2 * F::bytes(gate_ups.columns)), 1);
        const int64_t step = (least + LANES - 1) / LANES * LANES;
        const int64_t steps = (width + step - 1) / step;
        Pool::shared().each(int(assigned.experts.size() * size_t(steps)), [&](int item) {
            const auto& expert = assigned.experts[size_t(item / steps)];
            const int64_t first = item % steps * step, last = std::min(first + step, width);
            gate_up<F>(of_stack(gate_ups, expert.index), pointers.data() + expert.first, expert.count, first, last,
                       inner_memory + expert.first * stride, stride);
        });
    });
    with_format(downs.format, [&](auto format) {
        using F = decltype(format);
        Pool::shared().each(int((hidden + PANEL_ROWS - 1) / PANEL_ROWS), [&](int item) {
            const int64_t first = int64_t(item) * PANEL_ROWS, count = std::min<int64_t>(PANEL_ROWS, hidden - first);
            static thread_local std::vector<float> sums;
            sums.assign(size_t(tokens * PANEL_ROWS), 0.0f);
            for (const auto& expert : assigned.experts)
                down<F>(of_stack(downs, expert.index), inner.data() + expert.first, expert.count, first,
                        assigned.tokens.data() + expert.first, assigned.weights.data() + expert.first, sums.data());
            for (int64_t t = 0; t < tokens; t++) {
                bf16* to = out.data + t * out.stride + first;
                store_some(to, load(&sums[size_t(t * PANEL_ROWS)]), count);
                store_some(to + LANES, load(&sums[size_t(t * PANEL_ROWS + LANES)]), count - LANES);
            }
        });
    });
}
