// One call of the package, told on the command line: URL, method, arguments as JSON, and after how many parts to abort.
// Prints {"parts": [...]} or {"result": ...}, or {"error": {name, message, status}} beside what came before it.
import { Ollama } from 'ollama'

const [url, method, args, abortAfter] = process.argv.slice(2)
const client = new Ollama({ host: url })
const said = {}
try {
  const result = await client[method](JSON.parse(args))
  if (result && result[Symbol.asyncIterator]) {
    said.parts = []
    for await (const part of result) {
      said.parts.push(part)
      if (said.parts.length === Number(abortAfter)) client.abort()
    }
  } else {
    said.result = result
  }
} catch (error) {
  said.error = { name: error.name, message: error.message, status: error.status_code }
}
console.log(JSON.stringify(said))
