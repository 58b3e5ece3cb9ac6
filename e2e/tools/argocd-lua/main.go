// Runs Lua scripts as Argo CD does: the same engine (gopher-lua), the same few libraries, one second.
//
// Reads one JSON object {"script": …, "obj": …} per line and answers each with one line: {"result": …} or {"error": …}.
// What a script finds there is what argo-cd's util/lua/lua.go (VM.runLua) opens when standard libraries are off, as they are for
// customizations from argocd-cm: package, base and table. Of os there is time and date, and it is reached by
// require("os") alone: Argo CD registers it under the name of the table library. There is no string and no math.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

type question struct {
	Script string         `json:"script"`
	Obj    map[string]any `json:"obj"`
}

type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for decoder := json.NewDecoder(lines); ; {
		var asked question
		if decoder.Decode(&asked) != nil {
			return
		}
		said := answer{}
		if result, err := run(asked); err != nil {
			said.Error = err.Error()
		} else {
			said.Result = result
		}
		if out.Encode(said) != nil {
			return
		}
	}
}

func run(asked question) (json.RawMessage, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	libraries := []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}}
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	state.PreloadModule(lua.OsLibName, safeOs)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luajson.DecodeValue(state, asked.Obj))
	if err := state.DoString(asked.Script); err != nil {
		return nil, err
	}
	return luajson.Encode(state.Get(-1))
}

// The clock, and nothing that reads or ends anything.
func safeOs(state *lua.LState) int {
	module := state.NewTable()
	state.SetField(module, "time", state.NewFunction(func(state *lua.LState) int {
		state.Push(lua.LNumber(time.Now().Unix()))
		return 1
	}))
	state.Push(module)
	return 1
}
