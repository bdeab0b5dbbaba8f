#!/bin/sh
# Two coding agents against a running server, by hand: starts each, lets it send its request, shows how it ends.
#
#     abruzzi serve --model-alias 'claude-*' --max-model-len 32768 --max-json-string 24
#     npm install --prefix FOLDER @anthropic-ai/claude-code @openai/codex   # and: node FOLDER/node_modules/@anthropic-ai/claude-code/install.cjs
#     tests/clients/agents.sh FOLDER http://127.0.0.1:8000 abruzzi-demo
#
# The model may call tools: Claude Code may not run any here, Codex runs commands in its read-only sandbox.
set -u
bin=$(cd "$1/node_modules/.bin" && pwd) url=$2 model=$3
HOME=$(mktemp -d) && export HOME
trap 'rm -rf "$HOME"' EXIT
cd "$HOME" || exit 1

echo "== Claude Code"
ANTHROPIC_BASE_URL=$url ANTHROPIC_AUTH_TOKEN=none ANTHROPIC_MODEL=claude-sonnet-4-5 MAX_THINKING_TOKENS=0 \
    CLAUDE_CODE_MAX_OUTPUT_TOKENS=300 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_TELEMETRY=1 DISABLE_AUTOUPDATER=1 \
    timeout 60 "$bin/claude" -p Hello --tools Bash --system-prompt "Be short." --max-turns 1 --output-format json </dev/null

echo "== Codex"
mkdir .codex
cat >.codex/config.toml <<TOML
model = "$model"
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
timeout 60 "$bin/codex" exec --skip-git-repo-check Hello </dev/null
