package page

import (
	"encoding/json"
	"slices"

	"github.com/millrace/millrace/card"
)

// object is a JSON object.
type object = map[string]any

// OpenAPI describes the gateway, OpenAPI 3.1, with a schema and an example for each
// model that the workers serve now.
func OpenAPI(cards []card.Card) map[string]any {
	bodies, examples, names := []any{}, object{}, []any{}
	schemas := object{"Error": errorSchema(), "Predictions": object{
		"type": "object", "properties": object{"predictions": object{}}, "required": []string{"predictions"},
	}}
	for i := range cards {
		c := &cards[i]
		id := schemaName(c)
		schemas[id] = requestSchema(c)
		bodies = append(bodies, object{"$ref": "#/components/schemas/" + id})
		names = append(names, c.Name+"/"+c.Version)
		if len(c.Example) > 0 {
			examples[id] = object{"summary": c.Name + " " + c.Version, "value": c.Example}
		}
	}
	body := object{"schema": object{}}
	if len(bodies) > 0 {
		body["schema"] = object{"anyOf": bodies}
	}
	if len(examples) > 0 {
		body["examples"] = examples
	}
	predict := operation("Ask for a prediction", "The dialect is recognised: MLflow's scoring JSON, or the Open Inference Protocol.", body, names)
	invocations := operation("Ask as one asks MLflow's scoring server", "JSON, or CSV with a line of names.", body, names)
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Millrace", "version": "1",
			"description": "Requests become records of a Kafka topic; workers answer them with a model of the MLflow registry.",
		},
		"paths": object{
			"/predict":          object{"post": predict},
			"/invocations":      object{"post": invocations},
			"/predictions/{id}": predictionPaths(),
		},
		"components": object{
			"schemas":         schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer"}},
		},
	}
}

// schemaName is that of a model's requests, of the letters that OpenAPI allows.
func schemaName(c *card.Card) string {
	name := []byte(c.Name + "." + c.Version)
	for i, b := range name {
		ok := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '-' || b == '_'
		if !ok {
			name[i] = '_'
		}
	}
	return string(name)
}

func operation(summary, about string, body object, names []any) object {
	header := func(name, about string, schema object) object {
		return object{"name": name, "in": "header", "description": about, "schema": schema}
	}
	model := object{"type": "string"}
	if len(names) > 0 {
		model["examples"] = names
	}
	answer := func(about, schema string) object {
		return object{"description": about, "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/" + schema}}}}
	}
	return object{
		"summary": summary, "description": about,
		"parameters": []any{
			header("X-Model", "name, name@alias or name/version; the default model without it", model),
			header("X-Request-Timeout", "seconds, or a duration such as 500ms", object{"type": "string"}),
			header("X-Key", "key of the record: requests of one key are answered in their order", object{"type": "string"}),
			header("Prefer", "respond-async: the answer is fetched later", object{"type": "string"}),
			header("Idempotency-Key", "makes a repeated request the same one", object{"type": "string", "maxLength": 255}),
		},
		"requestBody": object{"required": true, "content": object{"application/json": body}},
		"responses": object{
			"200": answer("The prediction", "Predictions"),
			"202": object{"description": "Taken in; Location says where the answer will be"},
			"400": answer("The request is wrong: the message names the field", "Error"),
			"401": answer("A bearer token is needed", "Error"),
			"404": answer("No such model is served", "Error"),
			"413": answer("Too large", "Error"),
			"429": answer("Too many requests; Retry-After says when to come back", "Error"),
			"500": answer("The model failed", "Error"),
			"503": answer("Crowded, or nothing behind answers; Retry-After says when to come back", "Error"),
			"504": answer("No answer in time", "Error"),
		},
	}
}

func predictionPaths() object {
	id := object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string", "pattern": "^[0-9a-f]{32}$"}}
	wait := object{"name": "wait", "in": "query", "description": "how long to wait for the answer", "schema": object{"type": "string"}}
	return object{
		"get": object{"summary": "Fetch an answer", "parameters": []any{id, wait}, "responses": object{
			"200": object{"description": "The answer, as /predict would have given it"},
			"202": object{"description": "There is none yet"}, "404": object{"description": "No such prediction"},
		}},
		"delete": object{"summary": "Cancel a request, or forget its answer", "parameters": []any{id}, "responses": object{
			"204": object{"description": "Done"}, "404": object{"description": "No such prediction"},
		}},
	}
}

func errorSchema() object {
	return object{"type": "object", "properties": object{
		"error_code": object{"type": "string"}, "message": object{"type": "string"},
		"field": object{"type": "string"}, "retryable": object{"type": "boolean"},
	}}
}

// declared is an input as MLmodel's signature has it.
type declared struct {
	Name     *string         `json:"name"`
	Type     string          `json:"type"`
	Required *bool           `json:"required"`
	Items    json.RawMessage `json:"items"`
	Tensor   *struct {
		DType string  `json:"dtype"`
		Shape []int64 `json:"shape"`
	} `json:"tensor-spec"`
}

// requestSchema is what the model takes in MLflow's forms: a data frame for columns,
// tensors otherwise.
func requestSchema(c *card.Card) object {
	var inputs []declared
	if c.Signature != nil {
		_ = json.Unmarshal(c.Signature.Inputs, &inputs) // what cannot be read is not described
	}
	title := c.Name + " " + c.Version
	switch {
	case len(inputs) == 0:
		return object{"title": title, "type": "object", "description": "The model was logged without a signature."}
	case inputs[0].Tensor != nil && inputs[0].Name == nil:
		return object{"title": title, "type": "object", "required": []string{"inputs"}, "properties": object{
			"inputs": tensorSchema(inputs[0].Tensor.DType, inputs[0].Tensor.Shape),
		}}
	case inputs[0].Tensor != nil:
		properties, required := object{}, []string{}
		for _, in := range inputs {
			if in.Name != nil && in.Tensor != nil {
				properties[*in.Name] = tensorSchema(in.Tensor.DType, in.Tensor.Shape)
				required = append(required, *in.Name)
			}
		}
		return object{"title": title, "type": "object", "required": []string{"inputs"}, "properties": object{
			"inputs": object{"type": "object", "properties": properties, "required": required},
		}}
	}
	properties, required := object{}, []string{}
	for _, in := range inputs {
		if in.Name == nil {
			continue
		}
		properties[*in.Name] = columnSchema(in.Type)
		if in.Required == nil || *in.Required {
			required = append(required, *in.Name)
		}
	}
	record := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		record["required"] = required
	}
	return object{"title": title, "type": "object", "properties": object{
		"dataframe_records": object{"type": "array", "items": record},
		"dataframe_split": object{"type": "object", "required": []string{"data"}, "properties": object{
			"columns": object{"type": "array", "items": object{"type": "string"}},
			"data":    object{"type": "array", "items": object{"type": "array"}},
		}},
	}}
}

func columnSchema(typ string) object {
	switch typ {
	case "boolean", "string":
		return object{"type": typ}
	case "integer", "long":
		return object{"type": "integer"}
	case "float", "double":
		return object{"type": "number"}
	case "binary":
		return object{"type": "string", "contentEncoding": "base64"}
	case "datetime":
		return object{"type": "string", "format": "date-time"}
	case "array":
		return object{"type": "array"}
	case "object", "map":
		return object{"type": "object"}
	}
	return object{}
}

// tensorSchema nests lists as deep as the shape; a dimension that is fixed says so.
func tensorSchema(dtype string, shape []int64) object {
	s := object{"type": "number"}
	switch {
	case dtype == "bool":
		s = object{"type": "boolean"}
	case dtype == "str" || dtype == "object":
		s = object{"type": "string"}
	case len(dtype) > 3 && (dtype[:3] == "int" || dtype[:4] == "uint"):
		s = object{"type": "integer"}
	}
	for _, size := range slices.Backward(shape) {
		s = object{"type": "array", "items": s}
		if size >= 0 {
			s["minItems"], s["maxItems"] = size, size
		}
	}
	return s
}
