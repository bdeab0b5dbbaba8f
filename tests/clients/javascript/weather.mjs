// What both clients are asked.

export const question = 'What is the weather in Graz?'
export const result = { city: 'Graz', temperature: 21, conditions: 'sunny' }
export const parameters = {
  type: 'object',
  properties: { city: { type: 'string', description: 'City name' } },
  required: ['city'],
  additionalProperties: false,
}
export const [url, model] = process.argv.slice(2)
