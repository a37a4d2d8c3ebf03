package main

import (
	"strings"

	"github.com/millrace/millrace/model/mlflow"
)

// curl is a command that sends the body, as a shell takes it. A body that is
// too long to be pasted is read from a file, when it is one of the model's.
func curl(url, body, dir string) string {
	if body == "" {
		return ""
	}
	const longest = 4096
	if len(body) > longest {
		if f, err := mlflow.ReadFolder(dir); err == nil && f.ServingExample != "" {
			body = "@" + f.ServingExample
		}
	}
	return "curl -sS " + shellQuote(url) + " -H 'content-type: application/json' --data-binary " + shellQuote(body)
}

func shellQuote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/:@=,+%"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
