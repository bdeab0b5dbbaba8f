"""Every field of a generateContent request, in exactly one of three lists: honoured, harmless, refused.

The lists hold data only; `docs/gemini.md` shows them, and tests hold them against the types of Google's SDK, the schema
and the document. null always means absent. A dot stands for the object that a field is in.
"""

from server.wire import Refused

# Field of the API -> what it does here.
HONOURED: dict[str, str] = {
    "contents": "turns of the roles user and model, of text, function calls and their responses; the last is not the "
    "model's",
    "systemInstruction": "text parts",
    "tools": "`functionDeclarations`, up to 512; calls are held to `parameters` or `parametersJsonSchema`; other tools "
    "are refused by name",
    "toolConfig": "`functionCallingConfig` with the modes AUTO, ANY, NONE and VALIDATED, and `allowedFunctionNames` "
    "with ANY or VALIDATED; default: AUTO if there are tools",
    "generationConfig.stopSequences": "up to 64 strings of 1 to 1,024 characters; the answer ends before the first "
    "that it would contain",
    "generationConfig.responseMimeType": "`text/plain`, `application/json`, or `text/x.enum` with a schema that has an "
    "`enum`",
    "generationConfig.responseSchema": "Google's schema, with `responseMimeType` application/json or text/x.enum",
    "generationConfig.responseJsonSchema": "a JSON Schema, with `responseMimeType` application/json",
    "generationConfig.candidateCount": "1 to the server's `--max-n` (16)",
    "generationConfig.maxOutputTokens": "at least 1; what the context has no room for is not generated; default: the "
    "rest of the context",
    "generationConfig.temperature": "0 to 2; default: the checkpoint's, else 1",
    "generationConfig.topP": "0 to 1, 0: the most likely token; default: the checkpoint's, else 1",
    "generationConfig.topK": "only the k most likely tokens; default: the checkpoint's, else all",
    "generationConfig.seed": "a 64-bit integer",
    "generationConfig.presencePenalty": "-2 to 2; default 0",
    "generationConfig.frequencyPenalty": "-2 to 2; default 0",
    "generationConfig.responseLogprobs": "log-probabilities of the text's tokens, under the model's own distribution",
    "generationConfig.logprobs": "0 to 20 alternatives for each token; needs `responseLogprobs: true`",
    "generationConfig.thinkingConfig": "`thinkingBudget` 0: do not think, if the model can do without; any other "
    "budget or `thinkingLevel`: think, if the model can; `includeThoughts`: show it",
}

# Field of the API -> why accepting it without effect breaks no promise.
HARMLESS: dict[str, str] = {
    "labels": "labels for a bill; there is none",
    "safetySettings": "what a filter would hold back; there is no filter",
}

# Field of the API -> why it is answered 400.
REFUSED: dict[str, Refused] = {
    "cachedContent": Refused("prefixes are cached by themselves"),
    "continuationToken": Refused("answers are not continued"),
    "serviceTier": Refused("there is one tier", ("unspecified", "standard")),
    "store": Refused("answers are not stored", (False,)),
    "generationConfig.audioTimestamp": Refused("there is no audio", (False,)),
    "generationConfig.audioTranscriptionConfig": Refused("there is no audio"),
    "generationConfig.enableAffectiveDialog": Refused("there is no audio", (False,)),
    "generationConfig.enableEnhancedCivicAnswers": Refused("there is no filter", (False,)),
    "generationConfig.imageConfig": Refused("answers are text"),
    "generationConfig.mediaResolution": Refused("the model reads text", ("MEDIA_RESOLUTION_UNSPECIFIED",)),
    "generationConfig.modelSelectionConfig": Refused("there is one model"),
    "generationConfig.responseFormat": Refused("use `responseMimeType` and `responseJsonSchema`"),
    "generationConfig.responseModalities": Refused("answers are text", (["TEXT"], [])),
    "generationConfig.routingConfig": Refused("there is one model"),
    "generationConfig.speechConfig": Refused("answers are text"),
    "generationConfig.translationConfig": Refused("answers are text"),
}
