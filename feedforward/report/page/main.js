// Reads the data of the page and builds it.

const pageData = JSON.parse(document.querySelector("#data").textContent);
document.title = pageData.title;
document.querySelector("h1").textContent = pageData.title;
document.querySelector("#summary").textContent = pageData.summary;
if (pageData.part) document.querySelector("#summary").append(" ", make("a", { href: "../report.html" }, "The comparison"));
(pageData.runs ? comparisonPage : runPage)(pageData);
