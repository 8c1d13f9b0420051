package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// The rest of such a key is GROUP_KIND, or KIND for the core group.
const healthKey = "resource.customizations.health."

// How long Argo CD lets a script run.
const scriptTimeout = time.Second

// The health statuses that Argo CD knows; what else a script returns becomes Unknown.
var healthStatuses = map[string]bool{
	"Unknown": true, "Progressing": true, "Suspended": true, "Healthy": true, "Degraded": true, "Missing": true,
}

// readScripts returns the health checks of an argocd-cm ConfigMap by GROUP_KIND.
func readScripts(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var configMap struct {
		Kind string            `json:"kind"`
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &configMap); err != nil {
		return nil, err
	}
	if configMap.Kind != "ConfigMap" {
		return nil, fmt.Errorf("expected a ConfigMap, found kind %q", configMap.Kind)
	}
	scripts := map[string]string{}
	for key, script := range configMap.Data {
		if kind, ok := strings.CutPrefix(key, healthKey); ok {
			scripts[kind] = script
		}
	}
	return scripts, nil
}

// argoHealth is the health Argo CD shows: as its gitops-engine does, what is being deleted comes first, and a script that
// fails makes the health Unknown. An object without a script has no health and is counted as healthy.
func argoHealth(object *unstructured.Unstructured, scripts map[string]string) verdict {
	if object.GetDeletionTimestamp() != nil {
		return verdict{Status: "Progressing", Message: "Pending deletion"}
	}
	script, ok := scripts[scriptName(object.GroupVersionKind())]
	if !ok {
		return verdict{}
	}
	found, err := runScript(object, script)
	if err != nil {
		return verdict{Status: "Unknown", Message: err.Error()}
	}
	return found
}

func scriptName(kind schema.GroupVersionKind) string {
	if kind.Group == "" {
		return kind.Kind
	}
	return kind.Group + "_" + kind.Kind
}

// runScript runs a health check as Argo CD's util/lua does unless `useOpenLibs` is set: with the libraries package, base
// and table, the object as the global obj, a second of time, and a table {status, message} or nothing as the result. The two
// functions of the os library that Argo CD offers besides (time and date) are left out on purpose: a health that depends
// on when it is looked at cannot be tested.
func runScript(object *unstructured.Unstructured, script string) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// In this order: the library package makes the table that the others register in.
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return verdict{}, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		var failed *lua.ApiError
		if errors.As(err, &failed) {
			failed.StackTrace = ""
		}
		return verdict{}, err
	}
	returned := state.Get(-1)
	if returned.Type() == lua.LTNil {
		return verdict{}, nil
	}
	if returned.Type() != lua.LTTable {
		return verdict{}, fmt.Errorf("expect table output from Lua script, not %s", returned.Type())
	}
	text, err := luajson.Encode(returned)
	if err != nil {
		return verdict{}, err
	}
	var found verdict
	if err := json.Unmarshal(text, &found); err != nil {
		return verdict{}, err
	}
	if !healthStatuses[found.Status] {
		return verdict{}, fmt.Errorf("Lua returned an invalid health status: %q", found.Status)
	}
	return found, nil
}

// toLua converts a value of an unstructured object; what it does not know is nil.
func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}
