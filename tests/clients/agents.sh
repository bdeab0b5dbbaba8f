#!/bin/sh
# Two coding agents against a server of its own: starts each, lets it work, shows how it ends and what was asked of the
# server. `make test-agents` installs them and runs this; docs/clients.md tells what came of it.
#
#     ABRUZZI=.venv/bin/abruzzi tests/clients/agents.sh FOLDER    # where npm has put @anthropic-ai/claude-code, @openai/codex
#
# The model may call tools: Claude Code may not run any here, Codex runs commands in its read-only sandbox. Answers are
# bounded by the context, since Codex sets no limit.
set -u
bin=$(cd "$1/node_modules/.bin" && pwd)
HOME=$(mktemp -d) && export HOME
"$ABRUZZI" serve --port 0 --store "sqlite:///$HOME/store.db" --model-alias 'claude-*' --max-model-len 9216 \
    --max-json-string 24 >"$HOME/server.log" 2>&1 &
server=$!
trap 'kill $server; wait $server; rm -rf "$HOME"' EXIT
url=
for _ in $(seq 120); do
    url=$(sed -n 's/^Ready on \(http[^ ]*\).*/\1/p' "$HOME/server.log")
    [ -n "$url" ] && break
    sleep 1
done
[ -n "$url" ] || { cat "$HOME/server.log"; exit 1; }
mkdir "$HOME/work" && cd "$HOME/work" || exit 1

# The native program is what the package's own install step would put in place; npm may be told to run none.
[ -e "$bin/../@anthropic-ai/claude-code/install.cjs" ] && node "$bin/../@anthropic-ai/claude-code/install.cjs"
echo "== Claude Code $("$bin/claude" --version)"
ANTHROPIC_BASE_URL=$url ANTHROPIC_AUTH_TOKEN=none ANTHROPIC_MODEL=claude-sonnet-4-5 MAX_THINKING_TOKENS=0 \
    CLAUDE_CODE_MAX_OUTPUT_TOKENS=300 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_TELEMETRY=1 DISABLE_AUTOUPDATER=1 \
    timeout 300 "$bin/claude" -p Hello --tools Bash --system-prompt "Be short." --max-turns 1 --output-format json </dev/null
echo "== ended with $?"

echo "== Codex $("$bin/codex" --version)"
mkdir "$HOME/.codex"
cat >"$HOME/.codex/config.toml" <<TOML
model = "abruzzi-demo"
model_provider = "abruzzi"
web_search = "disabled"
[model_providers.abruzzi]
name = "Abruzzi"
base_url = "$url/v1"
wire_api = "responses"
[features]
multi_agent = false
apps = false
goals = false
image_generation = false
TOML
timeout 300 "$bin/codex" exec --skip-git-repo-check Hello </dev/null 2>&1
echo "== ended with $?"

echo "== What the server was asked"
curl -s "$url/metrics" | grep -E '^abruzzi_(http_requests_total|prompt_tokens_total|generation_tokens_total|requests_finished_total)' |
    grep -v metrics
