package main

// object is one object of Grafana's model of a dashboard.
type object = map[string]any

const (
	columns     = 24 // of Grafana's grid
	chartHeight = 8
	statHeight  = 4
)

// source is chosen by whoever looks: dashboards are shared between installations.
var source = object{"type": "prometheus", "uid": "${source}"}

// dashboard lays the rows out below each other, each row's panels side by side.
func dashboard(rows []row) object {
	var panels []object
	id, y := 0, 0
	add := func(p object, h, w, x int) {
		id++
		p["id"], p["gridPos"] = id, object{"h": h, "w": w, "x": x, "y": y}
		panels = append(panels, p)
	}
	for _, r := range rows {
		add(object{"type": "row", "title": r.title, "collapsed": false, "panels": []object{}}, 1, columns, 0)
		y++
		height := chartHeight
		if r.stats {
			height = statHeight
		}
		perLine := len(r.panels)
		if !r.stats {
			perLine = min(perLine, 3)
		}
		for i, p := range r.panels {
			if i > 0 && i%perLine == 0 {
				y += height
			}
			add(p.object(r.stats), height, columns/perLine, i%perLine*(columns/perLine))
		}
		y += height
	}
	return object{
		"uid": "voicemill", "title": "voicemill", "tags": []string{"voicemill"},
		"schemaVersion": 39, "version": 1, "editable": false, "graphTooltip": 1, "timezone": "browser",
		"refresh": "30s", "time": object{"from": "now-3h", "to": "now"},
		"templating": object{"list": []object{{
			"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus",
			"current": object{"text": "Prometheus", "value": "prometheus"}, "hide": 0,
		}}},
		"panels": panels,
	}
}

func (p panel) object(stat bool) object {
	defaults := object{"unit": p.unit, "min": 0}
	o := object{
		"type": "timeseries", "title": p.title, "description": p.help, "datasource": source,
		"fieldConfig": object{"defaults": defaults, "overrides": []object{}},
		"options": object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		},
	}
	if p.stacked {
		defaults["custom"] = object{"fillOpacity": 30, "stacking": object{"mode": "normal", "group": "A"}}
	}
	if stat {
		o["type"] = "stat"
		o["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "area"}
		if p.steps != nil {
			defaults["thresholds"] = object{"mode": "absolute", "steps": p.steps}
		}
	}
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.expr, "legendFormat": q.legend, "range": true,
		})
	}
	o["targets"] = targets
	return o
}
