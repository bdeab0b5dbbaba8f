// Vercel's AI SDK, over chat completions and over responses. node ai.mjs URL MODEL

import assert from 'node:assert/strict'
import { createOpenAI } from '@ai-sdk/openai'
import { generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import { model, question, result, url } from './weather.mjs'

const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
const Lake = z.object({ name: z.string().max(20), depth: z.number().int().min(0).max(2000) })
const weather = tool({
  description: 'Get the current weather in a city',
  inputSchema: z.object({ city: z.string() }),
  execute: async () => result,
})

for (const served of [provider.chat(model), provider.responses(model)]) {
  const common = { model: served, temperature: 0, maxOutputTokens: 200, maxRetries: 0 }

  // The loop runs the tool by itself; the first step is made to call it.
  const loop = {
    ...common,
    prompt: question,
    tools: { get_weather: weather },
    stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'auto' }),
  }
  const done = await generateText(loop)
  assert.equal(done.steps.length, 2)
  assert.equal(done.steps[0].toolCalls[0].toolName, 'get_weather')
  assert.deepEqual(done.steps[0].toolResults[0].output, result)
  assert.ok(done.text)
  assert.ok(done.totalUsage.outputTokens > 0)

  const streamed = streamText(loop)
  let joined = ''
  for await (const piece of streamed.textStream) joined += piece
  assert.ok(joined.endsWith(done.text))
  assert.equal((await streamed.steps)[0].toolCalls[0].toolName, 'get_weather')

  const lake = await generateText({ ...common, prompt: 'Describe a lake.', output: Output.object({ schema: Lake }) })
  Lake.parse(lake.output)
}

console.log('ai: ok')
