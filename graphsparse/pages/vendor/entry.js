// What the page uses of D3; build.sh bundles it into d3.js.
export {create, select, selectAll, pointer} from "d3-selection";
export {scaleLinear, scaleLog, scaleBand} from "d3-scale";
export {axisBottom, axisLeft} from "d3-axis";
export {zoom, zoomIdentity} from "d3-zoom";
export {line} from "d3-shape";
export {quadtree} from "d3-quadtree";
