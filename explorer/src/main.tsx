import { createRoot } from "react-dom/client";

import { App } from "./App";
import { readExplorer } from "./data";

const data = readExplorer(document.getElementById("data")!.textContent!);
document.title = data.title;
createRoot(document.getElementById("root")!).render(<App data={data} />);
