// The npm package openai: chat completions, completions and responses. node openai.mjs URL MODEL

import assert from 'node:assert/strict'
import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { z } from 'zod'
import { model, parameters, question, result, url } from './weather.mjs'

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Get the current weather in a city', parameters } }]
const common = { model, temperature: 0, max_tokens: 200 }

// Call, result, answer.
const messages = [{ role: 'user', content: question }]
const call = await client.chat.completions.create({ ...common, messages, tools, tool_choice: 'required' })
assert.equal(call.choices[0].finish_reason, 'tool_calls')
const asked = call.choices[0].message.tool_calls[0]
assert.equal(asked.function.name, 'get_weather')
assert.deepEqual(Object.keys(JSON.parse(asked.function.arguments)), ['city'])
messages.push(call.choices[0].message, { role: 'tool', tool_call_id: asked.id, content: JSON.stringify(result) })
const answer = await client.chat.completions.create({ ...common, messages, tools })
assert.ok(answer.choices[0].message.content)
assert.ok(answer.usage.prompt_tokens > call.usage.prompt_tokens)

// A stream is the whole, tool calls and all.
const stream = client.chat.completions.stream({ ...common, messages: messages.slice(0, 1), tools, tool_choice: 'required' })
const streamed = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0]
assert.equal(streamed.function.arguments, asked.function.arguments)
const text = client.chat.completions.stream({ ...common, messages, tools, stream_options: { include_usage: true } })
let joined = ''
text.on('content', (delta) => { joined += delta })
const whole = await text.finalChatCompletion()
assert.equal(joined, whole.choices[0].message.content)
assert.ok(whole.usage.completion_tokens > 0)

// A typed object.
const Lake = z.object({ name: z.string().max(20), depth: z.number().int().min(0).max(2000) })
const parsed = await client.chat.completions.parse({
  ...common, messages: [{ role: 'user', content: 'Describe a lake.' }], response_format: zodResponseFormat(Lake, 'lake'),
})
Lake.parse(parsed.choices[0].message.parsed)

// Completions and responses.
const completion = await client.completions.create({ model, prompt: 'The lake is', max_tokens: 5, temperature: 0 })
assert.equal(completion.usage.completion_tokens, 5)
const response = await client.responses.create({ model, input: 'Hello', max_output_tokens: 40, temperature: 0 })
const events = await client.responses.create({ model, input: 'Hello', max_output_tokens: 40, temperature: 0, stream: true })
let said = ''
for await (const event of events) if (event.type === 'response.output_text.delta') said += event.delta
assert.equal(said, response.output_text)

console.log('openai: ok')
