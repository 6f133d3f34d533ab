// Renders Go templates as External Secrets Operator does: text/template, Sprig, and a map of texts
// in which a missing key is an error. One JSON object a line in, one out.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

type question struct {
	Template string            `json:"template"`
	Data     map[string]string `json:"data"`
}

type answer struct {
	Text  string `json:"text"`
	Error string `json:"error"`
}

func render(asked question) (result answer) {
	parsed, err := template.New("it").Option("missingkey=error").
		Funcs(sprig.TxtFuncMap()).Parse(asked.Template)
	if err != nil {
		return answer{Error: "parse: " + err.Error()}
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, asked.Data); err != nil {
		return answer{Error: "execute: " + err.Error()}
	}
	return answer{Text: text.String()}
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	decoder := json.NewDecoder(lines)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for decoder.More() {
		var asked question
		if err := decoder.Decode(&asked); err != nil {
			os.Exit(1)
		}
		if err := out.Encode(render(asked)); err != nil {
			os.Exit(1)
		}
	}
}
